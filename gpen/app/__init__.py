"""The page for the browser. Only ``gpen app`` imports it, and only then is Gradio needed."""
