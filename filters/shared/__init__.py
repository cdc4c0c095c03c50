"""What several filters share: one tokenisation of the text, one decode of the images, one CLIP adapter."""
