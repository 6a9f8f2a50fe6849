// Keeps the admin's theme within a policy that refuses inline styles and inline scripts.

// The theme loads htmx before this file; its indicators would come as an inline style.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;
htmx.config.selfRequestsOnly = true;

// A width given as text becomes a style attribute, which is refused; given as an object it is set
// as a property, which is not.
document.addEventListener("alpine:init", () => {
  for (const bar of document.querySelectorAll("#changelist-actions")) {
    bar.setAttribute("x-bind:style", "({ width: changeListWidth + 'px' })");
  }
});
