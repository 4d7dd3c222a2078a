/** Which frames are fetched when: those that are looked at first, then the others of their stacks, nearest to the reader first. */

import { cache } from '@cornerstonejs/core';
import type { Frame } from './frames.ts';
import { announce, hold, load } from './loader.ts';

/** Frames that are fetched ahead at a time: a browser keeps six connections, and what is typed is to be kept meanwhile. */
const LANES = 3;

interface Fetch {
  abort: AbortController;
  done: Promise<void>;
}

/** Frames of a stack that are fetched ahead. */
interface Ahead {
  frames: Frame[];
  remaining: Set<number>;
  /** How many are over. */
  over: number;
  /** Where in the stack the reader is. */
  at: () => number;
  done: (loaded: number) => void;
}

const fetches = new Map<string, Fetch>();
/** What each pane waits for. */
const wanted = new Map<object, string>();
const ahead = new Set<Ahead>();
let running = 0;

function bring(id: string): Promise<void> {
  if (cache.getImage(id) !== undefined) return Promise.resolve();
  const begun = fetches.get(id);
  if (begun !== undefined) return begun.done;
  const abort = new AbortController();
  const done = (async () => {
    try {
      await hold(await load(id, abort.signal, [...wanted.values()].includes(id)));
    } finally {
      if (fetches.get(id)?.abort === abort) fetches.delete(id);
    }
  })();
  fetches.set(id, { abort, done });
  return done;
}

/** Leaves what no pane waits for: on a slow network it would take its share from what one does. */
function giveWay(): void {
  const kept = [...wanted.values()];
  for (const [id, { abort }] of fetches) {
    if (kept.includes(id)) continue;
    // Who wants it from now on has it fetched anew.
    fetches.delete(id);
    abort.abort();
  }
}

/** Fetches a frame that a pane is to show, before all others. Of several wishes of a pane only the newest counts; the others may
 *  end in an error. */
export async function want(pane: object, id: string): Promise<void> {
  if (cache.getImage(id) !== undefined) return release(pane);
  wanted.set(pane, id);
  giveWay();
  try {
    await bring(id);
  } finally {
    if (wanted.get(pane) === id) release(pane);
  }
}

/** The pane waits for nothing any more. */
export function release(pane: object): void {
  if (wanted.delete(pane)) giveWay();
  pump();
}

/** The frame that is nearest to where its reader is, of the stacks in turn. */
function nearest(): { of: Ahead; index: number } | null {
  for (const of of ahead) {
    if (of.remaining.size === 0) continue;
    const at = of.at();
    const index = [...of.remaining].reduce((best, each) => (Math.abs(each - at) < Math.abs(best - at) ? each : best));
    ahead.delete(of);
    ahead.add(of);
    return { of, index };
  }
  return null;
}

function pump(): void {
  while (wanted.size === 0 && running < LANES) {
    const next = nearest();
    if (next === null) return;
    const { of, index } = next;
    of.remaining.delete(index);
    running += 1;
    void bring(of.frames[index]!.id).then(
      () => true,
      // What gave way comes later. What cannot be had is told of when it is looked at.
      (error: unknown) => {
        const isLeft = error instanceof DOMException && error.name === 'AbortError';
        if (isLeft) of.remaining.add(index);
        return !isLeft;
      },
    ).then((isOver) => {
      running -= 1;
      if (isOver) of.over += 1;
      if (isOver && ahead.has(of)) of.done(of.over);
      pump();
    });
  }
}

/** Fetches a stack, a few frames at a time and the nearest to the reader first, until the answer is called. */
export function prefetch(frames: Frame[], at: () => number, done: (loaded: number) => void): () => void {
  announce(frames);
  const of = { frames, remaining: new Set(frames.keys()), over: 0, at, done };
  ahead.add(of);
  pump();
  return () => {
    ahead.delete(of);
  };
}
