const PLAY = ["Play or pause", "Back to the start", "Repeat"];

function name(root) {
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent ?? "";
    const handles = slider.querySelectorAll(".noUi-handle");
    handles.forEach((handle, i) => {
      handle.setAttribute("aria-label", handles.length > 1 ? `${label}, ${i ? "upper" : "lower"} end` : label);
    });
    const readout = slider.querySelector(".widget-readout");
    readout?.setAttribute("role", "textbox");
    readout?.setAttribute("aria-label", `${label}, as a number`);
  }
  for (const play of root.querySelectorAll(".widget-play")) {
    play.querySelectorAll("button").forEach((button, i) => {
      button.title = PLAY[i];
      button.setAttribute("aria-label", PLAY[i]);
    });
  }
  // a picture takes over the text that stands before it, so that it is not read twice
  let text = null;
  for (const node of root.querySelectorAll("[role=img], img.widget-image, .widget-image img")) {
    if (node.tagName !== "IMG") {
      text = node.getAttribute("aria-label");
      node.setAttribute("aria-hidden", "true");
    } else if (text !== null) {
      node.alt = text;
    }
  }
}

function keep(event) {
  const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  if (!command) event.stopPropagation();
}

function render({ el }) {
  let observer = null;
  let root = null;
  // the widget around it exists once this view is on the page
  const timer = setInterval(() => {
    const around = el.closest(".ROOT_CLASS");
    if (!around) return;
    clearInterval(timer);
    if (around.parentElement.closest(".ROOT_CLASS")) return; // the outermost names all
    root = around;
    name(root);
    observer = new MutationObserver(() => name(root));
    observer.observe(root, { childList: true, subtree: true });
    root.addEventListener("keydown", keep);
  }, 100);
  return () => {
    clearInterval(timer);
    observer?.disconnect();
    root?.removeEventListener("keydown", keep);
  };
}
export default { render };
