"""Published networks that an evaluation is compared with, each as it was trained."""
