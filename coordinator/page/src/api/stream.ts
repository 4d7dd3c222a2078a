/** The stream of what changes, as one browser holds it for all of its tabs: browsers open six connections to a place, and a stream takes
 * one for as long as it lasts. */

/** What a tab is told: an event of the coordinator, or one of the stream itself. */
export interface Told {
  name: (typeof NAMES)[number] | 'beat' | 'live' | 'lost' | 'superseded';
  data: string;
}

const NAMES = ['study', 'removed', 'readers', 'question', 'reload'] as const;

/** The coordinator is heard every 15 s: where nothing was for so long, the connection hangs. */
export const SILENT_MS = 40_000;
/** One that is asked for says at once that it is there. */
const OPENING_MS = 15_000;
const RETRY_MS = 3_000;
const MOST_RETRY_MS = 24_000;

export class Stream {
  isLive = false;
  private source: EventSource | null = null;
  private silent: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private retryMs = RETRY_MS;

  constructor(private readonly tell: (told: Told) => void) {
    this.open();
  }

  close(): void {
    clearTimeout(this.silent);
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  private open(): void {
    this.close();
    const source = new EventSource('/api/events');
    this.source = source;
    source.addEventListener('open', () => {
      this.retryMs = RETRY_MS;
      this.isLive = true;
      this.wait(SILENT_MS);
      this.tell({ name: 'live', data: '' });
    });
    source.addEventListener('error', () => {
      this.lost();
      // The browser reconnects by itself, but not after an error answer.
      if (source.readyState !== EventSource.CLOSED) return;
      this.retry = setTimeout(() => this.open(), this.retryMs);
      this.retryMs = Math.min(MOST_RETRY_MS, this.retryMs * 2);
    });
    for (const name of [...NAMES, 'beat'] as const) {
      source.addEventListener(name, (event) => {
        this.wait(SILENT_MS);
        this.tell({ name, data: (event as MessageEvent<string>).data });
      });
    }
    this.wait(OPENING_MS);
  }

  /** Waits for what comes next, and begins anew where nothing does. */
  private wait(ms: number): void {
    clearTimeout(this.silent);
    this.silent = setTimeout(() => {
      this.lost();
      this.open();
    }, ms);
  }

  private lost(): void {
    this.isLive = false;
    this.tell({ name: 'lost', data: '' });
  }
}
