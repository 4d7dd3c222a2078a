/** Calls of the API: one place where sessions, CSRF and errors are handled. */

import type { Session } from './types.ts';

/** What a call answers where it does not do what was asked: in words, for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: Record<string, unknown> = {},
    readonly etag: string | null = null,
  ) {
    super(message);
  }
}

/** So long without a word, an answer is not waited for any more. */
const PATIENCE_MS = 30_000;
/** Clocks that are not further apart than that are not told apart: an answer's date has whole seconds. */
const SAME_CLOCK_MS = 2_000;

let csrf = '';
let account = '';
let ended: () => void = () => undefined;
let changed: () => void = () => undefined;
/** By how much the coordinator's clock is ahead of this machine's. */
let aheadMs = 0;

/** Keeps the token that every changing call carries. */
export function keepSession(session: Session | null): void {
  csrf = session?.csrf ?? '';
  account = session?.account.id ?? '';
  changed();
}

/** Which session this page shows; nothing where it shows none. */
export function sessionShown(): string {
  return csrf;
}

/** Says who is told that a session counts, the same one or another, or that none does. */
export function onSession(listener: () => void): void {
  changed = listener;
}

/** What the coordinator's clock shows: this machine's may be hours off. */
export function serverNow(): number {
  return Date.now() + aheadMs;
}

function readClock(response: Response, askedAt: number): void {
  const told = Date.parse(response.headers.get('Date') ?? '');
  if (Number.isNaN(told)) return;
  const ahead = told + 500 - (askedAt + Date.now()) / 2;
  aheadMs = Math.abs(ahead) < SAME_CLOCK_MS ? 0 : Math.round(ahead);
}

/** Who is signed in; nothing where nobody is. */
export function signedIn(): string {
  return account;
}

/** Says who is told when the session is over: what was typed stays where it is. */
export function onSessionEnd(listener: () => void): void {
  ended = listener;
}

/** Says that the session is over, where another way than a call found out. */
export function endSession(): void {
  ended();
}

export interface Answer<T> {
  body: T;
  etag: string | null;
}

/** Sends a request; gives the answer with its text. Throws where none comes, or nothing more of it for longer than our patience. */
async function send(path: string, init: RequestInit): Promise<{ response: Response; text: string }> {
  const patience = new AbortController();
  let timer = 0;
  const wait = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => patience.abort(), PATIENCE_MS);
  };
  const askedAt = Date.now();
  wait();
  try {
    const response = await fetch(`/api${path}`, { ...init, signal: patience.signal });
    readClock(response, askedAt);
    const decoder = new TextDecoder();
    let text = '';
    // In pieces: a slow network is no silent coordinator.
    const reader = response.body?.getReader();
    for (let piece = await reader?.read(); piece !== undefined && !piece.done; piece = await reader?.read()) {
      wait();
      text += decoder.decode(piece.value, { stream: true });
    }
    return { response, text: text + decoder.decode() };
  } catch {
    const what = patience.signal.aborted ? `The coordinator has not answered for ${PATIENCE_MS / 1000} s.` : 'The coordinator cannot be reached.';
    throw new ApiError(0, 'unreachable', `${what} What you typed is kept on this page; it is sent when the connection is back.`);
  } finally {
    clearTimeout(timer);
  }
}

/** Calls the API. Throws an `ApiError` for every answer but success, also where nothing answers. */
export async function call<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> {
  const sent: Record<string, string> = { Accept: 'application/json', ...headers };
  if (body !== undefined) sent['Content-Type'] = 'application/json';
  if (method !== 'GET') sent['X-Prelim-Csrf'] = csrf;
  const { response, text } = await send(path, { method, headers: sent, credentials: 'same-origin', ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const etag = response.headers.get('ETag');
  let answer: unknown = {};
  try {
    answer = text === '' ? {} : JSON.parse(text);
  } catch {
    throw new ApiError(response.status, 'invalid', `The coordinator gave an answer that is no JSON (${response.status}). Reload the page; if it stays, tell those who run it.`);
  }
  if (response.ok) return { body: answer as T, etag };
  const told = answer as { error?: string; code?: string };
  if (response.status === 401 && path !== '/session') ended();
  throw new ApiError(response.status, told.code ?? 'error', told.error ?? `The coordinator answered ${response.status}.`, answer as Record<string, unknown>, etag);
}

export async function get<T>(path: string): Promise<T> {
  return (await call<T>('GET', path)).body;
}

/** An error as a sentence that begins with a capital letter. */
export function words(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** An id for an act that is done once, however often it is sent. `randomUUID` is there over TLS and on loopback alone. */
export function requestId(): string {
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, '0')).join('');
}
