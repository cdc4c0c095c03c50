import sys
from pathlib import Path

# Test modules are imported by path (importlib mode), which leaves helpers beside them unfindable.
sys.path.insert(0, str(Path(__file__).parent))
