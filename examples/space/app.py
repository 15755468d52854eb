"""A page that compares two pictures and shows why they match, for a Hugging Face Space (Gradio)."""

import gradio as gr
from PIL import Image

import lookalike

MODELS = ["mini", "mini-vit"]
METHODS = ["shares", "rollout", "occlusion"]


def compare(query: Image.Image | None, match: Image.Image | None, model: str, method: str):
    """The picture of both maps, and a sentence; Gradio shows an error's message on the page."""
    if query is None or match is None:
        raise gr.Error("Give two pictures.")
    try:
        why = lookalike.explain(query, match, model=model, method=method)
    except lookalike.LookalikeError as error:
        raise gr.Error(str(error)) from error
    said = f"Similarity {why.similarity:.3f}"
    if why.additive:
        said += f", of which the maps leave {why.residual:.3f} unexplained"
    return lookalike.render.side_by_side(why), said


def build() -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="lookalike") as page:
        gr.Markdown("# Why do these pictures match?\nRed: it adds to the similarity; blue: it takes away.")
        with gr.Row():
            query, match = gr.Image(type="pil", label="Query"), gr.Image(type="pil", label="Match")
        with gr.Row():
            model = gr.Dropdown(MODELS, value=MODELS[0], label="Model")
            method = gr.Dropdown(METHODS, value=METHODS[0], label="Method")
        button = gr.Button("Compare")
        picture, sentence = gr.Image(label="Why"), gr.Textbox(label="Similarity")
        button.click(compare, [query, match, model, method], [picture, sentence])
    return page


if __name__ == "__main__":
    build().launch()
