/** Server-sent events: what changed, as it changes. */

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

const RETRY_MS = 3_000;

/** Listens until the answer is called. The browser reconnects by itself, but not after an error answer: then this does. */
export function listen(listeners: Listeners): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let closed = false;
  const on = <T,>(name: string, listener: ((what: T) => void) | undefined) => {
    if (listener === undefined) return;
    source?.addEventListener(name, (event) => {
      try {
        listener(JSON.parse((event as MessageEvent<string>).data) as T);
      } catch {
        // A line that is no JSON says nothing.
      }
    });
  };
  const open = () => {
    if (closed) return;
    source = new EventSource('/api/events');
    source.addEventListener('open', () => listeners.live?.(true));
    source.addEventListener('error', () => {
      listeners.live?.(false);
      if (source?.readyState === EventSource.CLOSED) timer = window.setTimeout(open, RETRY_MS);
    });
    on('study', listeners.study);
    on('removed', listeners.removed);
    on('readers', listeners.readers);
    on('question', listeners.question);
    on('reload', listeners.reload);
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    source?.close();
  };
}
