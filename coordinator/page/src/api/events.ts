/** What changes, as it changes: told to the views of this tab by the stream that all tabs share. */

import { useEffect, useState } from 'preact/hooks';
import { onSession, sessionShown } from './client.ts';
import { SILENT_MS, Stream, type Told } from './stream.ts';
import type { Question, Reader, Row } from './types.ts';

export interface Listeners {
  study?: (row: Row) => void;
  removed?: (what: { uid: string }) => void;
  readers?: (what: { uid: string; readers: Reader[] }) => void;
  question?: (what: { uid: string; question: Question }) => void;
  live?: (live: boolean) => void;
  /** More happened than could be told: load again. */
  reload?: () => void;
}

/** A view that goes makes place for one that comes: the stream is not left in between. */
const LINGER_MS = 5_000;
/** Longer than the stream itself waits: it is heard of first. */
const WORKER_SILENT_MS = SILENT_MS + 10_000;

const listening = new Set<Listeners>();
/** Told of how the stream is, where that changes. */
const watching = new Set<() => void>();
let state: 'none' | 'joining' | 'live' | 'lost' = 'none';
let leave: (() => void) | null = null;
/** Whose session the stream was joined with. */
let joinedAs = '';
let lingering = 0;
let silent = 0;
/** Chromium on Android has no SharedWorker, and a file of an older version may be gone. */
let canShare = 'SharedWorker' in window;
/** A session that another has taken the place of in this browser. */
let superseded = '';

function become(next: typeof state): void {
  if (state === next) return;
  state = next;
  if (next === 'live' || next === 'lost') for (const { live } of [...listening]) live?.(next === 'live');
  for (const watch of watching) watch();
}

function take({ name, data }: Told): void {
  clearTimeout(silent);
  if (name === 'superseded') {
    superseded = sessionShown();
    return part('lost');
  }
  if (canShare) silent = window.setTimeout(joinAgain, WORKER_SILENT_MS);
  if (name === 'live' || name === 'lost') return become(name);
  if (name === 'beat') return;
  let what: unknown;
  try {
    what = JSON.parse(data);
  } catch {
    // A line that is no JSON says nothing.
    return;
  }
  for (const listeners of [...listening]) (listeners[name] as ((what: unknown) => void) | undefined)?.(what);
}

function share(): () => void {
  const worker = new SharedWorker(new URL('./stream_worker.ts', import.meta.url), { type: 'module', name: 'prelim' });
  const { port } = worker;
  worker.addEventListener('error', () => {
    canShare = false;
    joinAgain();
  });
  port.onmessage = ({ data }: MessageEvent<Told>) => take(data);
  port.postMessage(sessionShown());
  silent = window.setTimeout(joinAgain, WORKER_SILENT_MS);
  return () => {
    port.onmessage = null;
    port.postMessage('');
    port.close();
  };
}

function hold(): () => void {
  const stream = new Stream(take);
  return () => stream.close();
}

function join(): void {
  // A tab that has its own stream has none while nobody sees it: what was missed is loaded when it is looked at again.
  if (leave !== null || listening.size === 0 || ['', superseded].includes(sessionShown()) || (!canShare && document.hidden)) return;
  if (state === 'none') become('joining');
  joinedAs = sessionShown();
  leave = canShare ? share() : hold();
}

function part(into: 'none' | 'joining' | 'lost'): void {
  clearTimeout(silent);
  leave?.();
  leave = null;
  become(into);
}

function joinAgain(): void {
  part('lost');
  join();
}

onSession(() => {
  if (leave !== null && joinedAs === sessionShown()) return;
  part(listening.size === 0 ? 'none' : 'joining');
  join();
});
document.addEventListener('visibilitychange', () => {
  if (canShare) return;
  if (document.hidden && leave !== null) part('lost');
  else join();
});
addEventListener('pagehide', () => part('lost'));
addEventListener('pageshow', join);

/** Listens until the answer is called. */
export function listen(listeners: Listeners): () => void {
  clearTimeout(lingering);
  listening.add(listeners);
  if (state === 'live') queueMicrotask(() => { if (listening.has(listeners) && state === 'live') listeners.live?.(true); });
  join();
  return () => {
    listening.delete(listeners);
    if (listening.size === 0) lingering = window.setTimeout(() => part('none'), LINGER_MS);
  };
}

/** Leaves the stream while nobody is signed in: with another session, or this one where it counts again, it is joined again. */
export function pause(): void {
  if (leave !== null) part('lost');
}

/** Whether what changes is not heard of now, though somebody listens. */
export function useLost(): boolean {
  const [lost, setLost] = useState(state === 'lost');
  useEffect(() => {
    const watch = () => setLost(state === 'lost');
    watch();
    watching.add(watch);
    return () => {
      watching.delete(watch);
    };
  }, []);
  return lost;
}
