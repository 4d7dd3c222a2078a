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

let csrf = '';
let account = '';
let ended: () => void = () => undefined;

/** Keeps the token that every changing call carries. */
export function keepSession(session: Session | null): void {
  csrf = session?.csrf ?? '';
  account = session?.account.id ?? '';
}

/** Who is signed in; nothing where nobody is. */
export function signedIn(): string {
  return account;
}

/** Says who is told when the session is over: what was typed stays where it is. */
export function onSessionEnd(listener: () => void): void {
  ended = listener;
}

export interface Answer<T> {
  body: T;
  etag: string | null;
}

/** Calls the API. Throws an `ApiError` for every answer but success, also where nothing answers. */
export async function call<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> {
  const sent: Record<string, string> = { Accept: 'application/json', ...headers };
  if (body !== undefined) sent['Content-Type'] = 'application/json';
  if (method !== 'GET') sent['X-Prelim-Csrf'] = csrf;
  let response: Response;
  try {
    response = await fetch(`/api${path}`, {
      method,
      headers: sent,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, 'unreachable', 'The coordinator cannot be reached. What you typed is kept on this page; it is sent when the connection is back.');
  }
  const etag = response.headers.get('ETag');
  const text = await response.text();
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
