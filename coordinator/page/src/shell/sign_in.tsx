/** Signing in: by name and password, or at the site's identity provider. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { call, words } from '../api/client.ts';
import type { Session } from '../api/types.ts';

interface Props {
  ways: string[];
  entered: (session: Session) => void;
  /** Whose session ended, where somebody was here before. */
  again?: string;
  /** What came of signing in elsewhere, in words. */
  told?: string;
}

export function SignIn({ ways, entered, again, told }: Props) {
  const [name, setName] = useState(again ?? '');
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const first = useRef<HTMLInputElement>(null);
  const secret = useRef<HTMLInputElement>(null);
  // Before the next key can come. Where somebody was here before, a text may be being typed: the focus is theirs.
  useLayoutEffect(() => {
    if (again === undefined) first.current?.focus();
  }, []);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem('');
    try {
      // Names of accounts have small letters alone; phones and people begin with a capital.
      entered((await call<Session>('POST', '/session', { name: again ?? name.trim().toLowerCase(), password })).body);
    } catch (error) {
      setProblem(words(error));
      setPassword('');
      secret.current?.focus();
    } finally {
      setBusy(false);
    }
  };

  const form = (
    <form class="sign-in" onSubmit={(event) => void submit(event)}>
      {again === undefined && <><h1>prelim</h1><p class="muted">Reading room</p></>}
      {ways.includes('password') && (
        <>
          <label>
            Name
            <input name="name" autocomplete="username" autocapitalize="none" autocorrect="off" spellcheck={false} required value={name} readOnly={again !== undefined} ref={first} onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <label>
            Password
            <input name="password" type="password" autocomplete="current-password" required value={password} ref={secret} onInput={(event) => setPassword(event.currentTarget.value)} />
          </label>
          <button class="primary" type="submit" disabled={busy}>{busy ? 'Signing in' : 'Sign in'}</button>
        </>
      )}
      {ways.includes('oidc') && again === undefined && <a class="button" href="/api/oidc/begin">Sign in with the site's account</a>}
      {ways.includes('oidc') && again !== undefined && (
        <>
          <a class="button primary" href="/api/oidc/begin" target="_blank" rel="noopener">Sign in with the site's account</a>
          <p class="muted elsewhere">It opens in a tab of its own. Come back to this one then: what you typed goes on here.</p>
        </>
      )}
      <p class="problem" role="alert">{problem || told}</p>
      <p class="fine">Drafts are made by software that is not a medical device. No report counts before a radiologist signs it.</p>
    </form>
  );
  return again === undefined ? <main class="quiet">{form}</main> : form;
}
