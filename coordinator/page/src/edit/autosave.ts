/** Keeps the working copy on the server while it is edited: one save at a time, none over a newer one. */

import { ApiError, call, signedIn, words } from '../api/client.ts';
import type { WorkingCopy } from '../api/types.ts';

export type Saving =
  | { state: 'clean' }
  | { state: 'saving' }
  | { state: 'saved'; at_ms: number }
  /** Kept here, not there: why, and it is tried again. */
  | { state: 'waiting'; problem: string }
  /** Another copy of the same reader is newer. */
  | { state: 'conflict'; theirs: WorkingCopy };

const PAUSE_MS = 600;
/** How long something unsaved waits at most while typing goes on. */
const MOST_MS = 3_000;
const RETRY_MS = 5_000;

function bare(etag: string | null): string | null {
  return etag?.replaceAll('"', '') ?? null;
}

/** What was left unsaved, because the coordinator could not be reached: it is tried until it is kept, wherever the reader is by then. */
const left = new Map<string, Autosave>();
/** All that may have something to save. */
const open = new Set<Autosave>();

/** Saves all that waits, for who signs out. Says why not, where that cannot be. */
export async function keepAll(): Promise<string> {
  for (const autosave of open) {
    const problem = autosave.who === signedIn() ? await autosave.keep() : '';
    if (problem !== '') return problem;
  }
  return '';
}

addEventListener('beforeunload', (event) => {
  if (left.size > 0) event.preventDefault();
});
addEventListener('online', () => left.forEach((autosave) => autosave.retry()));
addEventListener('prelim:signed-in', () => left.forEach((autosave, path) => {
  // What one person left is saved as nobody else's.
  if (autosave.who === signedIn()) autosave.retry();
  else left.delete(path);
}));

export class Autosave {
  private wanted: WorkingCopy | null = null;
  private timer = 0;
  /** Since when something is not saved. */
  private since: number | null = null;
  private busy = false;
  private closed = false;
  readonly who = signedIn();
  private sending: Promise<void> = Promise.resolve();
  private now: Saving = { state: 'clean' };

  constructor(
    private readonly path: string,
    /** Which copy is taken the place of, as the server numbers them; nothing where there is none. */
    private etag: string | null,
    private told: (saving: Saving) => void,
  ) {
    open.add(this);
  }

  private tell(saving: Saving): void {
    this.now = saving;
    this.told(saving);
  }

  /** The one that was left with something unsaved, and with what; nothing where none was. */
  static resume(path: string, told: (saving: Saving) => void): { autosave: Autosave; copy: WorkingCopy } | null {
    const autosave = left.get(path);
    left.delete(path);
    if (autosave === undefined || autosave.wanted === null) return null;
    autosave.told = told;
    autosave.retry();
    return { autosave, copy: autosave.wanted };
  }

  /** The study is left: what waits is saved, now or when that can be. */
  async leave(): Promise<void> {
    this.told = () => undefined;
    left.set(this.path, this);
    await this.flush();
    this.settle();
  }

  /** Once nothing waits any more, one that was left is done. */
  private settle(): void {
    if (this.wanted !== null || left.get(this.path) !== this) return;
    left.delete(this.path);
    this.close();
  }

  /** The copy that is kept; nothing where there is none. */
  async load(): Promise<WorkingCopy | null> {
    try {
      const answer = await call<WorkingCopy | null>('GET', this.path);
      this.etag = bare(answer.etag);
      return answer.body !== null && Array.isArray(answer.body.decisions) ? answer.body : null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  save(copy: WorkingCopy): void {
    this.wanted = copy;
    this.tell({ state: 'saving' });
    this.soon();
  }

  /** The copy was taken away by the server: what comes next is the first again. */
  forget(): void {
    clearTimeout(this.timer);
    this.wanted = null;
    this.since = null;
    this.etag = null;
    this.now = { state: 'clean' };
  }

  /** Throws the kept copy away. Throws where that cannot be done; then it is kept. */
  async discard(): Promise<void> {
    clearTimeout(this.timer);
    this.wanted = null;
    await this.sending;
    await call('DELETE', this.path);
    this.forget();
  }

  /** Tries at once, after a sign-in or when the network is back. */
  retry(): void {
    if (this.wanted !== null) this.later(0);
  }

  /** Nothing more is saved: it was signed, or the page is left. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    open.delete(this);
  }

  get isPending(): boolean {
    return this.wanted !== null;
  }

  /** Saves what waits, now; for the moment in which the study is left. */
  async flush(): Promise<void> {
    clearTimeout(this.timer);
    await this.sendNow();
  }

  /** Saves all that waits, also what was typed while it was being saved. Says why not, where it cannot be. */
  async keep(): Promise<string> {
    for (let turn = 0; turn < 3 && this.wanted !== null; turn++) {
      await this.flush();
      if (this.now.state === 'waiting') return this.now.problem;
    }
    if (this.now.state === 'conflict') return 'Another window keeps a newer copy of your edits: choose which of them stays.';
    return this.wanted === null ? '' : 'It is being typed still.';
  }

  /** After a pause in typing, or where there is none, when the most has passed. */
  private soon(): void {
    this.since ??= Date.now();
    this.later(Math.max(0, Math.min(PAUSE_MS, this.since + MOST_MS - Date.now())));
  }

  private later(ms: number): void {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = window.setTimeout(() => void this.sendNow(), ms);
  }

  private sendNow(): Promise<void> {
    if (!this.busy) this.sending = this.send();
    return this.sending;
  }

  private async send(): Promise<void> {
    const copy = this.wanted;
    if (copy === null || this.busy || this.closed || this.who !== signedIn()) return;
    this.busy = true;
    this.since = null;
    try {
      const condition: Record<string, string> = this.etag === null ? { 'If-None-Match': '*' } : { 'If-Match': `"${this.etag}"` };
      const answer = await call<{ saved_at_ms?: number }>('PUT', this.path, copy, condition);
      this.etag = bare(answer.etag);
      if (this.wanted === copy) this.wanted = null;
      this.tell(this.wanted === null ? { state: 'saved', at_ms: answer.body.saved_at_ms ?? Date.now() } : { state: 'saving' });
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) {
        await this.differs(error);
      } else {
        this.tell({ state: 'waiting', problem: words(error) });
        this.later(RETRY_MS);
      }
    } finally {
      this.busy = false;
      if (this.wanted !== null && this.wanted !== copy) this.soon();
      this.settle();
    }
  }

  private async differs(error: ApiError): Promise<void> {
    const mine = this.wanted;
    // Which of two is to stay nobody says who is not here: it waits until the reader is back.
    if (left.get(this.path) === this) return;
    this.wanted = null;
    const told = error.body['newest'] as WorkingCopy | null | undefined;
    if (told && typeof error.body['etag'] === 'string') {
      this.etag = error.body['etag'];
      this.tell({ state: 'conflict', theirs: told });
      return;
    }
    const theirs = await this.load().catch(() => undefined);
    if (theirs === null && mine !== null) {
      // It was taken away: ours is the only one.
      this.etag = null;
      this.save(mine);
    } else if (theirs) {
      this.tell({ state: 'conflict', theirs });
    } else {
      this.wanted = mine;
      this.tell({ state: 'waiting', problem: words(error) });
      this.later(RETRY_MS);
    }
  }
}
