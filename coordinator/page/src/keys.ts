/** The keyboard: views bind keys with the words that the sheet of keys shows. */

import { useLayoutEffect, useRef } from 'preact/hooks';

export interface Binding {
  /** As `chord` writes it: "a", "Shift+A", "Ctrl+z", "ArrowDown". */
  keys: string[];
  /** What it does, for the sheet; bindings without words are not listed. */
  words?: string;
  group?: string;
  /** Also while a text is being typed. */
  whileTyping?: boolean;
  run: (event: KeyboardEvent) => void;
}

/** What is held back now: commands of a single letter, or all but those that work while a text is typed. */
type Hold = 'letters' | 'all';
const holds = new Set<{ current: Hold | null }>();

const stack: { current: Binding[] }[] = [];

/** The keyboard's letters are not Latin ones, as far as the letter that was typed last says. */
let isForeign = false;

/** The Latin letter, digit or bracket that stands where a key is, where its own alphabet has another; nothing where it has not. */
function latin({ key, code }: KeyboardEvent): string | null {
  if (/^\p{L}$/u.test(key)) isForeign = !/^\p{Script=Latin}$/u.test(key);
  const isOther = /^[^\x00-\x7f]$/u.test(key) && /^(?!\p{Script=Latin})[\p{L}\p{N}]$/u.test(key);
  // Some alphabets have signs where others have letters.
  const isSign = isForeign && code.startsWith('Key') && /^[^A-Za-z]$/.test(key);
  if (!isOther && !isSign) return null;
  const [, letter] = /^(?:Key|Digit)([A-Z0-9])$/.exec(code) ?? [];
  return letter?.toLowerCase() ?? { BracketLeft: '[', BracketRight: ']' }[code] ?? null;
}

function chord(event: KeyboardEvent, key = event.key): string {
  const { shiftKey } = event;
  const isCommand = event.ctrlKey || event.metaKey;
  const isSign = key.length === 1;
  const parts = [isCommand ? 'Ctrl+' : '', event.altKey ? 'Alt+' : '', shiftKey && (!isSign || isCommand) ? 'Shift+' : ''];
  // A capital letter is one with Shift: Caps Lock makes no other command of it, and takes none away.
  return parts.join('') + (!isSign ? key : shiftKey && !isCommand ? key.toUpperCase() : key.toLowerCase());
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !['checkbox', 'radio', 'button'].includes(target.type);
  return target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  const pressed = chord(event);
  const placed = latin(event);
  const chords = [pressed, ...(placed === null ? [] : [chord(event, placed)])];
  const typing = isTyping(event.target);
  // A button or a box to tick that has the focus keeps its own keys.
  const onButton = event.target instanceof HTMLButtonElement || (event.target instanceof HTMLInputElement && !typing) || event.target instanceof HTMLAnchorElement || (event.target instanceof HTMLElement && event.target.tagName === 'SUMMARY');
  if (onButton && (pressed === 'Enter' || pressed === ' ')) return;
  const held = [...holds].map(({ current }) => current);
  if (!typing && pressed !== '?' && held.includes('letters') && (event.key.length === 1)) return;
  const few = typing || held.includes('all');
  // What the key says comes before where it is.
  for (const wanted of chords) {
    for (const layer of stack.toReversed()) {
      const binding = layer.current.find((each) => each.keys.includes(wanted) && (!few || each.whileTyping === true));
      if (binding) {
        event.preventDefault();
        binding.run(event);
        return;
      }
    }
  }
});

/** Binds keys while the component is shown; what was bound last comes first. */
export function useKeys(bindings: Binding[]): void {
  const layer = useRef(bindings);
  layer.current = bindings;
  // Before the next key can come.
  useLayoutEffect(() => {
    stack.push(layer);
    return () => {
      stack.splice(stack.indexOf(layer), 1);
    };
  }, []);
}

/** Holds keys back while something waits for an answer that no key may pass over. */
export function useHold(hold: Hold | null): void {
  const mine = useRef(hold);
  mine.current = hold;
  useLayoutEffect(() => {
    holds.add(mine);
    return () => {
      holds.delete(mine);
    };
  }, []);
}

/** What is bound now, by group, for the sheet. */
export function listed(): Map<string, Binding[]> {
  const groups = new Map<string, Binding[]>();
  for (const layer of stack) {
    for (const binding of layer.current) {
      if (binding.words === undefined) continue;
      const group = binding.group ?? 'Everywhere';
      groups.set(group, [...(groups.get(group) ?? []), binding]);
    }
  }
  return groups;
}

const SHOWN: Record<string, string> = { ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', Escape: 'Esc', PageDown: 'PgDn', PageUp: 'PgUp', ' ': 'Space' };

/** A chord as it is printed on keys. */
export function shown(keys: string): string {
  return keys === '+' ? keys : keys.split('+').map((part) => SHOWN[part] ?? part).join(' ');
}
