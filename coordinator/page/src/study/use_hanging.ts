/** Which stacks hang where, at which place, with which window. */

import { useMemo, useRef, useState } from 'preact/hooks';
import type { Box, Place, Study } from '../api/types.ts';
import { isSameName, personName } from '../words.ts';
import { find, hung, stacks, type Stack } from '../viewer/frames.ts';
import type { Handle } from '../viewer/pane_view.tsx';
import type { Tool } from '../viewer/pointer.ts';
import type { Window } from '../viewer/presets.ts';

/** A new box, in fractions of the frame, where the keyboard puts it. */
export const FIRST_BOX: Box = { top: 0.4, left: 0.4, bottom: 0.6, right: 0.6 };

export interface Drawing {
  stack: Stack;
  index: number;
  box: Box;
}

export interface Hanging {
  /** All stacks: those of the study, then those of the other study that is shown beside it. */
  all: Stack[];
  panes: number[];
  active: number;
  activate: (pane: number) => void;
  indexOf: (stack: Stack) => number;
  turn: (stack: Stack, index: number) => void;
  turnBy: (steps: number) => void;
  /** The reader's own window; nothing for that of the header. */
  windowOf: (stack: Stack) => Window | null;
  setWindow: (stack: Stack, window: Window | null) => void;
  /** A window from the values of the active image. */
  contrast: () => void;
  /** The next or an earlier stack in the active pane. */
  change: (by: number) => void;
  put: (stack: number) => void;
  /** Brings a place into view. */
  jump: (place: Place) => void;
  handles: Map<string, Handle>;
  current: Stack | null;
  tool: Tool;
  setTool: (tool: Tool) => void;
  drawing: Drawing | null;
  setDrawing: (drawing: Drawing | null) => void;
}

function middle(stack: Stack): number {
  return stack.kind === 'ct' ? Math.floor(stack.frames.length / 2) : 0;
}

export function useHanging(study: Study, prior: Study | null): Hanging {
  const own = useMemo(() => stacks(study, null), [study.row.uid, study.series]);
  const earlier = useMemo(() => {
    if (prior === null) return [];
    const { name } = prior.row.patient;
    const when = study.priors.find((each) => each.uid === prior.row.uid)?.is_later === true ? 'later' : 'earlier';
    return stacks(prior, when, isSameName(name, study.row.patient.name) ? null : personName(name));
  }, [prior]);
  const all = useMemo(() => [...own, ...earlier], [own, earlier]);
  const [chosen, setChosen] = useState<number[] | null>(null);
  const [active, setActive] = useState(0);
  const [places, setPlaces] = useState<Record<string, number>>({});
  const [windows, setWindows] = useState<Record<string, Window | null>>({});
  const [tool, setTool] = useState<Tool>('look');
  const [drawing, setDrawing] = useState<Drawing | null>(null);
  const handles = useRef(new Map<string, Handle>());

  const mine = useMemo(() => hung(own), [own]);
  const base = (chosen ?? mine).filter((stack) => stack < own.length);
  const panes = useMemo(() => {
    if (earlier.length === 0) return base;
    // In at most four panes: the current views side by side, then those of the other study, of which those of the same name come first.
    const current = base.slice(0, 2);
    const others = hung(earlier).map((at) => at + own.length);
    const alike = current.flatMap((stack) => others.filter((at) => all[at]?.label === all[stack]?.label).slice(0, 1));
    return [...current, ...[...new Set([...alike, ...others])].slice(0, 2)];
  }, [base.join(), own, earlier]);
  const current = all[panes[Math.min(active, panes.length - 1)] ?? -1] ?? null;

  const indexOf = (stack: Stack) => Math.min(stack.frames.length - 1, places[stack.key] ?? middle(stack));
  const turn = (stack: Stack, index: number) => {
    const place = Math.max(0, Math.min(stack.frames.length - 1, index));
    setPlaces((was) => ({ ...was, [stack.key]: place }));
  };
  const put = (stack: number) => {
    const place = base.indexOf(stack);
    // Beside another study only two of this one hang.
    const most = earlier.length === 0 ? base.length : Math.min(2, base.length);
    if (place >= 0 && place < most) return setActive(place);
    const next = [...base];
    const pane = Math.min(active, Math.max(0, most - 1));
    if (place >= 0) next[place] = next[pane]!;
    next[pane] = stack;
    setChosen(next);
    setActive(pane);
  };
  return {
    all,
    panes,
    active: Math.min(active, Math.max(0, panes.length - 1)),
    activate: setActive,
    indexOf,
    turn,
    turnBy: (steps) => {
      if (current !== null) setPlaces((was) => ({ ...was, [current.key]: Math.max(0, Math.min(current.frames.length - 1, (was[current.key] ?? middle(current)) + steps)) }));
    },
    windowOf: (stack) => windows[stack.key] ?? null,
    setWindow: (stack, window) => setWindows((was) => ({ ...was, [stack.key]: window })),
    contrast: () => {
      const window = current === null ? undefined : handles.current.get(current.key)?.pane.contrast();
      if (current !== null && window) setWindows((was) => ({ ...was, [current.key]: window }));
    },
    change: (by) => {
      if (own.length < 2 || current === null || current.prior !== null) return;
      put((own.indexOf(current) + by + own.length) % own.length);
    },
    put,
    jump: (place) => {
      const found = find(own, place.instance, place.frame);
      if (found === null) return;
      put(found.stack);
      turn(own[found.stack]!, found.index);
    },
    handles: handles.current,
    current,
    tool,
    setTool,
    drawing,
    setDrawing,
  };
}
