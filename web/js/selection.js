// Numbers of faces as text, such as "0,2,5-7"; the rules are those of parse_face_numbers in gpen/options.py.

const PART = /^\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?$/;

/** Sorted ranges [first, last] that do not touch each other; null for invalid text. */
export function parseSelection(text) {
  if (!text.trim()) return [];
  const ranges = [];
  for (const part of text.split(",")) {
    const match = PART.exec(part);
    if (!match) return null;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first) return null;
    ranges.push([first, last]);
  }
  return merged(ranges);
}

/** The shortest text for ranges from parseSelection. */
export function formatSelection(ranges) {
  return ranges
    .map(([first, last]) => (last === first ? `${first}` : last === first + 1 ? `${first},${last}` : `${first}-${last}`))
    .join(",");
}

export function isSelected(ranges, number) {
  return ranges.some(([first, last]) => first <= number && number <= last);
}

/** The text with a number added, or removed if it was there. Invalid text is replaced. */
export function toggled(text, number) {
  const ranges = parseSelection(text) ?? [];
  if (!isSelected(ranges, number)) return formatSelection(merged([...ranges, [number, number]]));
  const left = ranges.flatMap(([first, last]) =>
    number < first || last < number
      ? [[first, last]]
      : [[first, number - 1], [number + 1, last]].filter(([from, to]) => from <= to),
  );
  return formatSelection(left);
}

function merged(ranges) {
  const result = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const previous = result.at(-1);
    if (previous && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else result.push([first, last]);
  }
  return result;
}
