function render({ model, el }) {
  const box = document.createElement("div");
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", model.get("label"));
  const write = () => { box.textContent = model.get("text"); };
  write();
  model.on("change:text", write);
  box.style.cssText = "margin:2px 8px 2px 2px;padding:2px 8px;border:1px solid #8a8a8a;border-radius:4px;"
    + "font-size:13px;cursor:pointer";
  box.onclick = () => box.focus({ preventScroll: true });
  el.appendChild(box);
  let listener = box;
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !model.get("bindings").includes(event.key)) return;
    // Enter presses the button that has the focus
    if (event.key === "Enter" && event.target !== box) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) model.send({ key: event.key, place: model.get("place") });
  };
  const listen = (target) => {
    listener.removeEventListener("keydown", onKey);
    listener = target;
    listener.setAttribute("data-lm-suppress-shortcuts", "true");
    listener.addEventListener("keydown", onKey);
  };
  listen(box);
  // a Play that is made with playing=true shows it, and stands still: it must change to be heard
  const start = async () => {
    if (!model.get("play")) return;
    const play = await model.widget_manager?.get_model(model.get("play").replace("IPY_MODEL_", ""));
    play?.set("playing", false);
    setTimeout(() => play?.set("playing", true), 100);
  };
  // the widget around it exists once this view is on the page
  const timer = setInterval(() => {
    const around = el.closest("." + model.get("root"));
    if (!around) return;
    clearInterval(timer);
    listen(around);
    start();
  }, 100);
  return () => {
    clearInterval(timer);
    model.off("change:text", write);
    listener.removeEventListener("keydown", onKey);
  };
}
export default { render };
