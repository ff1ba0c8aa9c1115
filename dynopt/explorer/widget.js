// The explorer in a notebook: a frame, and what the web page in it tells of its scene.
function render({ model, el }) {
  el.innerHTML = model.get("frame");
  const frame = el.firstElementChild;
  const receive = ({ source, data }) => {
    if (source !== frame.contentWindow || !data?.dynopt) return;
    model.set("scene", data.dynopt);
    model.save_changes();
  };
  addEventListener("message", receive);
  return () => removeEventListener("message", receive);
}
export default { render };
