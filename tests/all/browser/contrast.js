// Returns the visible texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3).
const channels = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
};
const blend = ({ rgb, alpha }, below) => rgb.map((value, at) => value * alpha + below[at] * (1 - alpha));
const background = (element) => {
  const below = element.parentElement ? background(element.parentElement) : [255, 255, 255];
  return blend(channels(getComputedStyle(element).backgroundColor), below);
};
const luminance = (rgb) => {
  const [red, green, blue] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (element) => {
  const below = background(element);
  const text = blend(channels(getComputedStyle(element).color), below);
  const [darker, lighter] = [luminance(below), luminance(text)].sort((one, other) => one - other);
  return (lighter + 0.05) / (darker + 0.05);
};
const isVisible = (element) => element.getClientRects().length > 0 && !element.closest('script, style, noscript');

const found = [...document.querySelectorAll('input, textarea, select')].map((field) => [field, field.value]);
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const text = texts.currentNode.data.trim();
  if (text) found.push([texts.currentNode.parentElement, text]);
}
return found
  .filter(([element]) => isVisible(element) && contrast(element) < 4.5)
  .map(([element, text]) => `${text.slice(0, 40)} (${element.className}): ${contrast(element).toFixed(2)}`);
