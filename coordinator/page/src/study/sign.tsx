/** The bar below the report, and what it opens: signing, rejecting. Beside the images, never over them. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Session, Standing } from '../api/types.ts';
import type { Saving } from '../edit/autosave.ts';
import { left } from '../edit/model.ts';
import { clock, coded, inserted, personName } from '../words.ts';
import { Ask } from './finding_card.tsx';
import type { Editing } from './use_edit.ts';

export type Step = 'none' | 'sign' | 'reject' | 'discard';

/** Keys by which a browser scrolls. */
const SCROLLS = ['ArrowDown', 'ArrowUp', 'PageDown', 'PageUp', 'Home', 'End', ' '];

interface Props {
  editing: Editing;
  session: Session;
  /** Begins to amend a signed report that nobody amends yet. */
  begin: (() => void) | null;
  standing: Standing;
  /** A signed report stands: the next one amends it. */
  amends: boolean;
  step: Step;
  setStep: (step: Step) => void;
  busy: boolean;
  problem: string;
  sign: (reason: string, contradictionsSeen: boolean) => void;
  reject: (reason: string) => void;
  /** Gives up what was edited; nothing where nothing was. */
  discard: (() => void) | null;
  /** The draft can be rejected as a whole. */
  canReject: boolean;
  /** The comparison of the version that is reviewed. */
  comparison: string;
}

function saved(saving: Saving): string {
  switch (saving.state) {
    case 'saved':
      return `kept ${clock(saving.at_ms)}`;
    case 'saving':
      return 'keeping';
    case 'waiting':
      return 'not kept yet';
    default:
      return '';
  }
}

export function SignBar(props: Props) {
  const { editing, session, standing, amends, step, setStep, busy, problem } = props;
  const open = left(editing.copy);
  /** What was typed beside the signature stays while the step is left and come back to. */
  const [note, setNote] = useState({ of: editing.copy.version, text: editing.copy.reason });
  const reason = note.of === editing.copy.version ? note.text : '';
  const may = session.account.name !== null && session.account.name !== '';
  const verb = amends ? 'Amend' : 'Sign';
  const blocked = editing.preview.problem !== '' ? editing.preview.problem : open > 0 ? `${open} still to decide` : '';
  return (
    <div class="sign-bar">
      {step === 'sign' && <SignStep {...props} verb={verb} reason={reason} setReason={(text) => setNote({ of: editing.copy.version, text })} />}
      {step === 'reject' && (
        <div class="sign-step" role="region" aria-label="Reject the draft">
          <h2>Reject this {standing === 'unsigned_draft' ? 'draft' : 'report'} as a whole</h2>
          <p>It says nothing of the patient then. Those who were sent it are told.</p>
          <Ask label="Why?" value="" options={[]} action="Reject" required done={props.reject} cancel={() => setStep('none')} />
        </div>
      )}
      {step === 'discard' && props.discard !== null && <DiscardStep amends={standing !== 'unsigned_draft'} discard={() => { setNote({ of: editing.copy.version, text: '' }); props.discard?.(); }} setStep={setStep} busy={busy} />}
      {problem !== '' && <p class="problem" role="alert">{problem}</p>}
      {editing.saving.state === 'waiting' && <p class="problem" role="status">Your edits are on this page and not kept on the server yet: {editing.saving.problem}</p>}
      {step !== 'sign' && [...editing.preview.contradictions, ...editing.preview.warnings].map((warning) => <p class="warning" key={warning} dir="auto">{warning}</p>)}
      <div class="row">
        <span class="part">
          <button class="plain" disabled={!editing.canUndo || busy} onClick={editing.undo} title="Undo (Ctrl Z)" aria-label="Undo">↶</button>
          <button class="plain" disabled={!editing.canRedo || busy} onClick={editing.redo} title="Redo (Ctrl Shift Z)" aria-label="Redo">↷</button>
          <span class="saved" role="status">{saved(editing.saving)}</span>
          {step === 'none' && props.discard !== null && <button class="plain discard" disabled={busy} onClick={() => setStep('discard')}>{standing === 'unsigned_draft' ? 'Discard my edits' : 'Discard this amendment'} <kbd>D</kbd></button>}
        </span>
        <span class="part ends">
          {may ? (
            step === 'none' && (props.begin !== null ? <button onClick={props.begin}>Amend <kbd>s</kbd></button> : (
              <>
                {blocked !== '' && <span class="blocked" id="blocked">{blocked}</span>}
                {props.canReject && <button onClick={() => setStep('reject')} disabled={busy}>Reject draft <kbd>R</kbd></button>}
                <button class="primary" disabled={blocked !== '' || busy} aria-describedby={blocked === '' ? undefined : 'blocked'} onClick={() => setStep('sign')}>{verb} <kbd>s</kbd></button>
              </>
            ))
          ) : (
            <span class="blocked">Your account has no person's name: it cannot sign.</span>
          )}
        </span>
      </div>
    </div>
  );
}

/** Asks once. */
function DiscardStep({ amends, discard, setStep, busy }: { amends: boolean; discard: () => void; setStep: (step: Step) => void; busy: boolean }) {
  const region = useRef<HTMLFormElement>(null);
  useLayoutEffect(() => region.current?.querySelector<HTMLElement>('button.primary')?.focus(), []);
  return (
    <form class="sign-step" ref={region} aria-label="Discard" onSubmit={(event) => { event.preventDefault(); if (!busy) discard(); }}
      onKeyDown={(event) => { if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); setStep('none'); } }}>
      <h2>{amends ? 'Discard this amendment?' : 'Discard your edits?'}</h2>
      <p>{amends ? 'Your edits are thrown away for good. The signed report stands as it was.' : 'Your edits are thrown away for good. The draft stands as it was.'}</p>
      <div class="acts">
        <button type="submit" class="primary" disabled={busy}>Discard <kbd>Enter</kbd></button>
        <button type="button" class="plain" onClick={() => setStep('none')}>Keep them <kbd>Esc</kbd></button>
      </div>
    </form>
  );
}

/** What is about to be signed, in full, and by whom. */
function SignStep({ editing, session, amends, setStep, busy, sign, comparison, verb, reason, setReason }: Props & { verb: string; reason: string; setReason: (reason: string) => void }) {
  const region = useRef<HTMLFormElement>(null);
  // Before the next key can come.
  useLayoutEffect(() => {
    (region.current?.querySelector<HTMLElement>('input[name=reason]') ?? region.current?.querySelector<HTMLElement>('button.primary'))?.focus();
  }, []);
  const { report, of, isOld, isLate, problem, warnings, contradictions } = editing.preview;
  /** Why what is shown cannot be signed now; empty where it can. */
  const blocked = problem !== '' ? problem : left(editing.copy) > 0 ? `${left(editing.copy)} still to decide` : !isLate && (isOld || of !== editing.copy) ? 'The report is being made of what you edited last' : '';
  /** The contradictions that the reader has seen: others are to be seen anew. */
  const [seen, setSeen] = useState('');
  const against = contradictions.join('\n');
  const isSeen = against === '' || seen === against;
  const count = (decision: string) => editing.copy.decisions.filter((each) => each.decision === decision).length;
  const counts = [[count('accept'), 'accepted'], [count('change'), 'changed'], [count('reject'), 'rejected'], [editing.copy.added.length, 'added']] as const;
  const told = counts.filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`).join(', ');
  return (
    <form class="sign-step" ref={region} aria-label={`${verb} the report`}
      onSubmit={(event) => { event.preventDefault(); if (!busy && blocked === '' && isSeen && (!amends || reason.trim() !== '')) sign(reason.trim(), against !== ''); }}
      onKeyDown={(event) => { if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); setStep('none'); } }}>
      <h2>{verb} as <bdi>{personName(session.account.name ?? session.account.id)}</bdi>{session.account.organization ? `, ${session.account.organization}` : ''}</h2>
      <p class="muted">{editing.copy.decisions.length + editing.copy.added.length === 0 ? 'The draft has no findings.' : `Findings: ${told}.`} {session.demonstration && 'The draft was made by demonstration weights.'}</p>
      {/* What is longer than its box is scrolled by keys, which turn slices elsewhere. */}
      <div class="to-sign" role="region" aria-label="What is signed" tabIndex={0} onKeyDown={(event) => { if (SCROLLS.includes(event.key)) event.stopPropagation(); }}>
        {report?.findings_text.map((each, index) => <p key={index} dir="auto">{each.text}</p>)}
        <p dir="auto"><b>Impression.</b> {report?.impression.map((each) => each.text).join(' ')}</p>
        {report !== null && <p><b>Coded.</b> {report.findings.length === 0 ? 'No finding.' : report.findings.map((each) => coded(each)).join('; ')}</p>}
        {report !== null && report.comparison.length > 0 && <p><b>Comparison{report.comparison.join('\n') === comparison ? '' : ', made anew of the findings as you decided'}.</b> {report.comparison.join(' ')}</p>}
        {report !== null && report.technique.length > 0 && <p dir="auto"><b>Technique.</b> {report.technique.join(' ')}</p>}
        {report !== null && report.limitations.length > 0 && <p><b>Limitations.</b> {report.limitations.join(' ')}</p>}
        {report?.inserted?.map((each) => <p class="inserted" key={`${each.passage ?? ''} ${each.sentence} ${each.answered_at_ms}`}>{inserted(each)}</p>)}
      </div>
      <label>
        {amends ? 'Why is it amended?' : 'Note (may be empty)'}
        <input name="reason" dir="auto" data-own={reason === '' ? undefined : 'yes'} value={reason} maxLength={2000} required={amends} onInput={(event) => setReason(event.currentTarget.value)} autocomplete="off" />
      </label>
      {warnings.map((warning) => <p class="warning" key={warning} dir="auto">{warning}</p>)}
      {contradictions.length > 0 && (
        <fieldset class="against">
          <legend>This report contradicts itself</legend>
          <ul>{contradictions.map((each) => <li class="warning" key={each} dir="auto">{each}</li>)}</ul>
          <label class="check">
            <input type="checkbox" name="seen" required checked={isSeen} onChange={(event) => setSeen(event.currentTarget.checked ? against : '')} />
            I have seen this, and sign it so
          </label>
        </fieldset>
      )}
      <div class="acts">
        {blocked !== '' && <span class="blocked" id="not-yet">{blocked}</span>}
        <button type="submit" class="primary" disabled={busy || blocked !== ''} aria-describedby={blocked === '' ? undefined : 'not-yet'}>{busy ? 'Signing' : `${verb} this report`} <kbd>Enter</kbd></button>
        <button type="button" class="plain" onClick={() => setStep('none')}>Back <kbd>Esc</kbd></button>
      </div>
    </form>
  );
}
