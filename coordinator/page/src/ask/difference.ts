/** What differs between two texts, word by word. Pure. */

export interface Part {
  kind: 'same' | 'inserted' | 'removed';
  /** Words with one space between them; "\n" for each line that ends. */
  text: string;
}

/** Words that are compared at most, of each text; longer ones are told as another text as a whole. */
const MAX_WORDS = 4_000;

/** Words, and the ends of lines between them. */
function wordsOf(text: string): string[] {
  const lines = text.split('\n').map((line) => line.split(/\s+/).filter((word) => word !== ''));
  return lines.filter((line) => line.length > 0).flatMap((line, index) => (index === 0 ? line : ['\n', ...line]));
}

/** The shortest way from one text to the other, by the longest common run of words. */
export function difference(before: string, after: string): Part[] {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  if (a.length > MAX_WORDS || b.length > MAX_WORDS) return parts([...a.map((word): Step => ['removed', word]), ...b.map((word): Step => ['inserted', word])]);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const steps: Step[] = a.slice(0, start).map((word) => ['same', word]);
  steps.push(...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)));
  steps.push(...a.slice(a.length - end).map((word): Step => ['same', word]));
  return parts(steps);
}

type Step = [Part['kind'], string];

function middle(a: string[], b: string[]): Step[] {
  // Longest common runs of what is left from each pair of places on.
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1]! + 1 : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!);
    }
  }
  const steps: Step[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      steps.push(['same', a[i]!]);
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!) {
      steps.push(['removed', a[i++]!]);
    } else {
      steps.push(['inserted', b[j++]!]);
    }
  }
  return [...steps, ...a.slice(i).map((word): Step => ['removed', word]), ...b.slice(j).map((word): Step => ['inserted', word])];
}

/** Runs of one kind as one part. */
function parts(steps: Step[]): Part[] {
  const found: { kind: Part['kind']; words: string[] }[] = [];
  for (const [kind, word] of steps) {
    const last = found.at(-1);
    if (last?.kind === kind) last.words.push(word);
    else found.push({ kind, words: [word] });
  }
  return found.map(({ kind, words }) => ({ kind, text: words.join(' ').replaceAll(/ ?\n ?/g, '\n') }));
}
