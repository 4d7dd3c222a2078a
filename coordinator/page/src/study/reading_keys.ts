/** The keys of the reading view. */

import type { Study } from '../api/types.ts';
import { useKeys, type Binding } from '../keys.ts';
import { go } from '../route.ts';
import { CT_PRESETS } from '../viewer/presets.ts';
import type { Ask } from '../ask/use_ask.ts';
import type { Mode } from './finding_card.tsx';
import type { Item } from './items.ts';
import { neighbourOf } from './neighbours.ts';
import { foremost } from './report_text.tsx';
import type { Step } from './sign.tsx';
import type { Editing } from './use_edit.ts';
import { FIRST_BOX, type Hanging } from './use_hanging.ts';

interface Reach {
  ask: Ask;
  editing: Editing;
  hanging: Hanging;
  editable: boolean;
  /** It can be edited, though a signed report is not before somebody begins to. */
  mayEdit: boolean;
  current: Item | null;
  study: Study;
  uid: string;
  mode: Mode;
  step: Step;
  canSign: boolean;
  canDiscard: boolean;
  /** The draft can be rejected as a whole. */
  canReject: boolean;
  move: (by: number) => void;
  choose: (id: string | null) => void;
  setMode: (mode: Mode) => void;
  setStep: (step: Step) => void;
  decide: (item: Item, decision: 'accept' | 'reject' | null) => void;
  /** Begins to amend a signed report. */
  amend: () => void;
  /** Reviews a rejected draft after all; nothing where there is none. */
  revive: (() => void) | null;
  acceptRest: () => void;
  remove: (item: Item) => void;
  add: () => void;
  toggleBoxes: () => void;
  beside: (uid: string) => void;
  say: (text: string) => void;
}

/** How far a key moves a box, in fractions of the frame. */
const STEP = 0.01;
/** How far a key moves the window, in parts of its width. */
const WINDOW_STEP = 0.05;

export function useReadingKeys(reach: Reach): void {
  const { ask, editing, hanging, editable, mayEdit, current } = reach;
  const images = (keys: string[], words: string | undefined, run: () => void): Binding => ({ keys, ...(words === undefined ? {} : { words }), group: 'Images', run });
  const draft = (keys: string[], words: string, run: () => void): Binding => ({ keys, words, group: 'Draft', run: () => { if (editable) run(); } });
  const pane = () => (hanging.current === null ? undefined : hanging.handles.get(hanging.current.key)?.pane);
  const { drawing } = hanging;
  const shift = (dx: number, dy: number, grow: boolean) => {
    if (drawing === null) return;
    const { top, left, bottom, right } = drawing.box;
    const inside = (value: number) => Math.min(1, Math.max(0, value));
    const box = grow
      ? { top, left, bottom: Math.max(top + STEP, inside(bottom + dy)), right: Math.max(left + STEP, inside(right + dx)) }
      : left + dx < 0 || right + dx > 1 || top + dy < 0 || bottom + dy > 1
        ? drawing.box
        : { top: top + dy, left: left + dx, bottom: bottom + dy, right: right + dx };
    hanging.setDrawing({ ...drawing, box });
  };
  /** Widens the window, and moves its centre, by so many parts of its width. */
  const rewindow = (wider: number, further: number) => {
    const now = pane()?.currentWindow() ?? null;
    if (hanging.current === null || now === null) return;
    hanging.setWindow(hanging.current, { width: Math.max(1, now.width * (1 + WINDOW_STEP) ** wider), center: now.center + further * WINDOW_STEP * now.width });
  };
  const arrow = (key: string, dx: number, dy: number, otherwise: () => void): Binding[] => [
    { keys: [key], run: () => (drawing === null ? otherwise() : shift(dx, dy, false)) },
    // Without a box: right is wider, down is darker, as a drag has it.
    { keys: [`Shift+${key}`], run: () => (drawing === null ? rewindow(dx / STEP, dy / STEP) : shift(dx, dy, true)) },
  ];
  const panes = hanging.panes.length;
  const sibling = (by: number) => {
    neighbourOf(reach.uid, by).then(
      (next) => {
        if (next !== undefined) go(`/study/${next}`);
        else reach.say(by > 0 ? 'There is no next study in the list' : 'There is no study before it in the list');
      },
      () => reach.say('The list cannot be had'),
    );
  };

  useKeys([
    draft(['a'], 'Accept the finding', () => current && reach.decide(current, 'accept')),
    draft(['A'], 'Accept all that are not decided', reach.acceptRest),
    draft(['c'], 'Change it', () => current && reach.setMode('change')),
    draft(['x'], 'Reject it, with a reason', () => current && (current.isAdded ? reach.remove(current) : reach.setMode('reject'))),
    draft(['w'], 'Write its sentence', () => current && reach.setMode('words')),
    draft(['d'], 'Take the decision back', () => current && reach.decide(current, null)),
    draft(['e'], 'Write the impression', () => document.querySelector<HTMLTextAreaElement>('.report-text textarea')?.focus()),
    draft(['n'], 'Add a finding: draw a box, or move it by arrows, size it by Shift and arrows, Enter', () => {
      const { current: stack } = hanging;
      if (stack === null || stack.prior !== null) return;
      if (drawing !== null || hanging.tool === 'box') {
        hanging.setDrawing(null);
        hanging.setTool('look');
      } else {
        hanging.setTool('box');
        hanging.setDrawing({ stack, index: hanging.indexOf(stack), box: FIRST_BOX });
      }
    }),
    { keys: ['s'], words: 'Sign; amend what is signed; review after all what was rejected', group: 'Draft', run: () => (editable ? reach.canSign && reach.setStep('sign') : reach.revive !== null ? reach.revive() : reach.amend()) },
    draft(['R'], 'Reject the draft as a whole', () => reach.canReject && reach.setStep('reject')),
    { keys: ['D'], words: 'Discard what was edited, after one question', group: 'Draft', run: () => reach.canDiscard && reach.setStep('discard') },
    { keys: ['Ctrl+z'], words: 'Undo', group: 'Draft', run: () => { if (mayEdit) editing.undo(); } },
    { keys: ['Ctrl+Shift+z', 'Ctrl+y'], words: 'Redo', group: 'Draft', run: () => { if (mayEdit) editing.redo(); } },
    { keys: ['q'], words: 'Ask about the study, the image or the box that is being drawn', group: 'Ask', run: ask.begin },
    { keys: ['v'], words: 'Have the image described, or the box on it', group: 'Ask', run: ask.describe },
    { keys: ['Q'], words: 'Open or close the questions and answers', group: 'Ask', run: () => ask.setOpen(!ask.open) },
    { keys: ['j'], words: 'Next finding', group: 'Study', run: () => reach.move(1) },
    { keys: ['k'], words: 'Finding before', group: 'Study', run: () => reach.move(-1) },
    { keys: ['J'], words: 'Next study of the list', group: 'Study', run: () => sibling(1) },
    { keys: ['K'], words: 'Study before', group: 'Study', run: () => sibling(-1) },
    { keys: ['Enter'], run: () => drawing !== null && reach.add() },
    {
      keys: ['Escape'],
      run: () => {
        if (drawing !== null || hanging.tool !== 'look') {
          hanging.setDrawing(null);
          hanging.setTool('look');
        } else if (reach.step !== 'none') reach.setStep('none');
        else if (reach.mode !== 'look') reach.setMode('look');
        else (document.activeElement as HTMLElement | null)?.blur();
      },
    },
    images(['ArrowDown', 'ArrowUp'], 'Next slice, slice before', () => undefined),
    ...arrow('ArrowDown', 0, STEP, () => hanging.turnBy(1)),
    ...arrow('ArrowUp', 0, -STEP, () => hanging.turnBy(-1)),
    ...arrow('ArrowLeft', -STEP, 0, () => hanging.activate((hanging.active + panes - 1) % Math.max(1, panes))),
    ...arrow('ArrowRight', STEP, 0, () => hanging.activate((hanging.active + 1) % Math.max(1, panes))),
    images(['ArrowLeft', 'ArrowRight'], 'Other image', () => undefined),
    images(['PageDown', 'PageUp'], 'Ten slices on, back', () => undefined),
    images(['Home', 'End'], 'First slice, last', () => undefined),
    images(['PageDown'], undefined, () => hanging.turnBy(10)),
    images(['PageUp'], undefined, () => hanging.turnBy(-10)),
    images(['Home'], undefined, () => hanging.turnBy(-1e6)),
    images(['End'], undefined, () => hanging.turnBy(1e6)),
    images(['[', ']'], 'Series before, next series', () => undefined),
    images([']'], undefined, () => hanging.change(1)),
    images(['['], undefined, () => hanging.change(-1)),
    ...CT_PRESETS.map((preset) => images([preset.key], `Window: ${preset.name.toLowerCase()}${preset.key === '1' ? '; of a film, by its contrast' : ''}`, () => (hanging.current?.kind === 'ct' ? hanging.setWindow(hanging.current, { center: preset.center, width: preset.width }) : preset.key === '1' && hanging.contrast()))),
    images(['0'], 'Window of the header', () => hanging.current && hanging.setWindow(hanging.current, null)),
    images(['+', '='], 'Larger', () => pane()?.zoom(1.2)),
    images(['-'], 'Smaller', () => pane()?.zoom(1 / 1.2)),
    images(['f'], 'Fit', () => pane()?.fit()),
    images(['i'], 'Invert', () => pane()?.invert()),
    images(['Shift+ArrowLeft', 'Shift+ArrowRight'], 'Window narrower, wider', () => undefined),
    images(['Shift+ArrowUp', 'Shift+ArrowDown'], 'Window brighter, darker', () => undefined),
    images(['m'], 'Measure: with a pointer, from end to end', () => hanging.setTool(hanging.tool === 'measure' ? 'look' : 'measure')),
    images(['b'], 'Boxes on or off', reach.toggleBoxes),
    images(['p'], 'Earlier study beside', () => {
      const earlier = foremost(reach.study.priors, reach.study.row.patient.name);
      if (earlier !== undefined) reach.beside(earlier.uid);
    }),
  ].toSorted((a, b) => Number(a.words !== undefined) - Number(b.words !== undefined)));
}
