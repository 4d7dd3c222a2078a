/** Reading a study: images on one side, the draft on the other, each pointing at the other. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { createPortal } from 'preact/compat';
import { ApiError, call, get, requestId, words } from '../api/client.ts';
import type { Finding, Reader, Report, Session, Statement, Study, Vocabulary, WorkingCopy } from '../api/types.ts';
import { acceptRest, carry, change, decide, hasImpression, isBegun, isSame, left, toSign, undecided, withImpression } from '../edit/model.ts';
import { useHold } from '../keys.ts';
import { ageAt, date, personName } from '../words.ts';
import { ImpressionHelp } from '../ask/impression_help.tsx';
import { AskPanel } from '../ask/panel.tsx';
import { useAsk } from '../ask/use_ask.ts';
import type { Asking } from '../ask/use_questions.ts';
import { Viewer } from '../viewer/viewer.tsx';
import { Banner } from './banner.tsx';
import { Conflict, linesOf, linesOfReport, NONE, StrayedList, type Strayed } from './conflict.tsx';
import { FindingCard, type Mode } from './finding_card.tsx';
import { items as itemsOf, type Item } from './items.ts';
import { useReadingKeys } from './reading_keys.ts';
import { PaperHead } from './paper_head.tsx';
import { Rejected } from './rejected.tsx';
import { Limitations, Priors, ReportText, Versions } from './report_text.tsx';
import { SignBar, type Step } from './sign.tsx';
import { useEdit } from './use_edit.ts';
import { useHanging } from './use_hanging.ts';

/** What becomes of the study as a whole. */
export type Removal = 'none' | 'removing' | 'gone';

interface Props {
  study: Study;
  removal: Removal;
  asking: Asking;
  vocabulary: Vocabulary;
  session: Session;
  readers: Reader[];
  newer: number | null;
  /** The newest version that came and was signed. */
  newerSigned: number | null;
  older: Report | null;
  problem: string;
  /** What says that the draft was rejected, while it is reviewed after all. */
  rejected: Report | null;
  /** Begins to review a rejected draft after all; nothing where none stands. */
  revive: (() => void) | null;
  /** Leaves that. */
  abandon: () => void;
  reload: () => Promise<Study | null>;
  show: (version: number) => void;
}

export function Reading(props: Props) {
  const { study, vocabulary, session, readers, newer, older } = props;
  const { row } = study;
  const mayReview = session.account.roles.includes('review');
  const editing = useEdit(study, mayReview);
  const { copy, preview } = editing;
  const [prior, setPrior] = useState<Study | null>(null);
  const hanging = useHanging(study, prior);
  const [chosen, setChosen] = useState<string | null>(null);
  const [hovered, setHovered] = useState<string | null>(null);
  const [boxes, setBoxes] = useState(true);
  const [mode, setMode] = useState<Mode>('look');
  const [step, setStep] = useState<Step>('none');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const [said, setSaid] = useState('');
  const [measured, setMeasured] = useState<number | null>(null);
  const [conflict, setConflict] = useState<{ newest: Study; mine: WorkingCopy } | null>(null);
  const [strayed, setStrayed] = useState<Strayed>(NONE);
  const [amending, setAmending] = useState(false);
  /** The id of a signature: the same one when it is tried again. */
  const attempt = useRef('');
  const list = useRef<HTMLOListElement>(null);

  const names = useMemo(() => new Map(vocabulary.findings.map(({ key, name }) => [key, name])), [vocabulary]);
  const report = older ?? study.report;
  const fits = report !== null && older === null && copy.version === report.report.version && copy.decisions.length === report.report.findings.length;
  const standing = report?.status ?? 'unsigned_draft';
  const isSigned = standing === 'signed' || standing === 'amended';
  // A signed report is looked at until somebody begins to amend it.
  const mayEdit = report !== null && older === null && fits && mayReview && standing !== 'rejected' && props.removal === 'none';
  const editable = mayEdit && (!isSigned || isBegun(copy) || amending);
  const { made: foundIn, of: previewed } = preview;
  const list_items = useMemo(
    () => (report === null || report.status === 'rejected' ? [] : itemsOf(report, fits ? copy : undecided(report.report.version, report.report.findings.length), names, editable ? { made: foundIn, of: previewed } : null)),
    [report, copy, fits, names, editable, foundIn, previewed],
  );
  const amend = () => {
    if (!mayEdit || editable) return;
    // Of a report without findings nothing is to accept.
    if (copy.decisions.length === 0) setAmending(true);
    else editing.change(acceptRest);
  };
  const current = list_items.find((item) => item.id === chosen) ?? null;
  const amends = study.versions.some((each) => each.standing === 'signed' || each.standing === 'amended');

  const choose = (id: string | null, jump = true) => {
    if (id !== chosen) setMode('look');
    setChosen(id);
    const item = list_items.find((each) => each.id === id);
    if (item && jump && item.finding.evidence[0]) hanging.jump(item.finding.evidence[0]);
    if (id !== null) requestAnimationFrame(() => document.getElementById(`finding-${id}`)?.scrollIntoView({ block: 'nearest' }));
  };
  const at = list_items.findIndex((item) => item.id === chosen);
  const move = (by: number) => {
    const next = list_items[Math.max(0, Math.min(list_items.length - 1, at < 0 ? (by > 0 ? 0 : list_items.length - 1) : at + by))];
    if (next) choose(next.id);
  };
  const onward = (item: Item) => {
    // After a decision the next finding that waits for one is looked at.
    const open = list_items.filter((each) => each.decision === null && each.id !== item.id);
    const next = open.find((each) => list_items.indexOf(each) > list_items.indexOf(item)) ?? open[0];
    if (next) choose(next.id);
  };
  const setDecision = (item: Item, decision: 'accept' | 'reject' | null, reason = '') => {
    if (!editable || item.isAdded) return;
    editing.change((was) => decide(was, item.index, { decision, reason, ...(decision === null ? { words: '' } : {}) }));
    setSaid(`${item.name} ${decision === null ? 'to be decided' : decision === 'accept' ? 'accepted' : 'rejected'}`);
    if (decision !== null) onward(item);
  };
  const keep = ({ name, index, draft, finding, words }: Item) => {
    editing.change((was) => (draft === null ? { ...was, added: was.added.map((each, at) => (at === index ? { ...each, finding, words } : each)) } : change(was, index, draft, finding, words)));
    setSaid(draft !== null && words === '' && isSame(draft.finding, finding) ? `${name} as drafted` : `${name} changed`);
  };
  const say = (item: Item, words: string) => keep({ ...item, words });
  const remove = (item: Item) => {
    editing.change((was) => ({ ...was, added: was.added.filter((_, index) => index !== item.index) }));
    setChosen(null);
  };
  const add = () => {
    const { drawing } = hanging;
    const frame = drawing === null ? undefined : drawing.stack.frames[drawing.index];
    if (!editable || drawing === null || frame === undefined) return;
    const place = { instance: frame.instance.uid, series: frame.series, frame: frame.number, box: drawing.box };
    const first = vocabulary.findings.find(({ key }) => key === 'nodule') ?? vocabulary.findings[0];
    if (first === undefined) return;
    editing.change((was) => ({ ...was, added: [...was.added, { finding: { key: first.key, presence: 'present', evidence: [place] }, words: '', reason: '' }] }));
    hanging.setDrawing(null);
    hanging.setTool('look');
    setChosen(`a${copy.added.length}`);
    setMode('change');
    setSaid('Finding added');
  };
  const point = (statement: Statement) => {
    const index = statement.findings[0] ?? -1;
    // The sentence is of the report as it would be signed, where the finding has that number.
    const item = list_items.find((each) => each.number === index + 1);
    const place = body?.findings[index]?.evidence[0];
    if (item) choose(item.id);
    else if (place) hanging.jump(place);
  };

  /** Shows both sides, where somebody was sooner. Whether there is another to show. */
  const tellLate = async (): Promise<boolean> => {
    const newest = await get<Study>(`/studies/${row.uid}`).catch(() => null);
    attempt.current = '';
    setStep('none');
    // That the draft was rejected is told above it, with why: it is signed by who goes on after that.
    if (newest?.report?.status === 'rejected') return (await props.reload()) !== null;
    if (newest !== null) setConflict({ newest, mine: copy });
    return newest !== null;
  };
  const review = async (what: 'sign' | 'reject', reason: string, contradictionsSeen = false) => {
    if (busy || report === null) return;
    const signed = what === 'sign' ? toSign(copy) : null;
    // Signed is what was decided, all of it, and shown so.
    if (what === 'sign' && (signed === null || (preview.of !== copy && !preview.isLate))) return setStep('none');
    setBusy(true);
    setProblem('');
    attempt.current ||= requestId();
    try {
      await editing.flush();
      if (what === 'sign' && preview.isLate && (await tellLate())) return;
      if (what === 'sign' && !editing.isNow(copy)) {
        setStep('none');
        return setProblem('Nothing was signed: the report was edited at the same time. Look at it, and sign it again.');
      }
      const body = { ...(signed ?? { version: copy.version }), reason, request_id: attempt.current, ...(signed === null ? {} : { contradictions_seen: contradictionsSeen, ...(props.rejected === null ? {} : { rejection_seen: props.rejected.report.version }) }) };
      await call('POST', `/studies/${row.uid}/${what}`, body);
      attempt.current = '';
      setStep('none');
      setAmending(false);
      setStrayed(NONE);
      const after = await props.reload();
      if (after !== null) editing.replace(undecided(after.report?.report.version ?? after.row.version, after.report?.report.findings.length ?? 0), true);
      setChosen(null);
      setSaid(what === 'sign' ? 'Signed' : 'Rejected');
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) {
        if (await tellLate()) return;
      }
      // An answer that never came may have been a yes: the same id is sent again.
      if (error instanceof ApiError && error.status >= 400) attempt.current = '';
      setProblem(words(error));
    } finally {
      setBusy(false);
    }
  };
  // Until it is known what the findings make, the words that were taken away are not shown as theirs.
  const made = preview.isOwn ? null : ((preview.report ?? report?.report)?.impression.map((each) => each.text) ?? null);
  const impression = !editable ? (report?.report.impression.map((each) => each.text) ?? null) : hasImpression(copy) ? copy.impression : preview.isOld ? null : made;
  const ask = useAsk(props.asking, hanging, copy.impression, (lines) => editing.change((was) => withImpression(was, [...(hasImpression(was) ? was.impression : (made ?? [])), ...lines])), setSaid);
  /** What comes into the report's text by hand may be an answer's. */
  const pasted = (into: EventTarget | null, from: DataTransfer | null) => {
    if (!editable || !(into instanceof Element) || into.closest('.report-text, .finding') === null) return;
    // What the report says of the words may have been asked for before they were on record.
    void ask.paste(from?.getData('text') ?? '').then((isNoted) => { if (isNoted) editing.look(); });
  };
  const canDiscard = older === null && report !== null && standing !== 'rejected' && (isBegun(copy) || amending || editing.saving.state === 'conflict' || props.rejected !== null);
  const discard = async () => {
    setBusy(true);
    setProblem('');
    try {
      await editing.discard();
      setStep('none');
      setMode('look');
      setAmending(false);
      setConflict(null);
      setStrayed(NONE);
      setSaid('Edits discarded');
      // Where there is a newer version that is shown now; of a rejected draft, that it was rejected.
      if (props.rejected !== null) props.abandon();
      else if (newer !== null) {
        const after = await props.reload();
        if (after !== null) editing.replace(undecided(after.report?.report.version ?? after.row.version, after.report?.report.findings.length ?? 0), true);
      }
    } catch (error) {
      setProblem(words(error));
    } finally {
      setBusy(false);
    }
  };
  /** The findings of a stale copy's version. */
  const [staleFindings, setStaleFindings] = useState<Finding[]>([]);
  const staleVersion = editing.stale?.version ?? null;
  useEffect(() => {
    setStaleFindings([]);
    if (staleVersion !== null) get<Report>(`/studies/${row.uid}/reports/${staleVersion}`).then(({ report: then }) => setStaleFindings(then.findings), () => undefined);
  }, [row.uid, staleVersion]);
  // No key passes over a choice that waits.
  useHold(busy ? 'all' : conflict !== null || editing.saving.state === 'conflict' || editing.stale !== null ? 'letters' : null);
  // What is to be decided again is not signed.
  const isOpen = left(copy) > 0;
  useLayoutEffect(() => {
    if (step !== 'sign' || !isOpen) return;
    setStep('none');
    setSaid('Not signed: a finding is to be decided');
  }, [step, isOpen]);
  const takeNewest = async (carryOver: boolean) => {
    const before = study.report?.report.findings ?? [];
    const mine = copy;
    // Of a rejected draft the edits are kept for whoever reviews it after all.
    await editing.flush().catch(() => undefined);
    const newest = await props.reload();
    if (newest === null || newest.report?.status === 'rejected') return setConflict(null);
    const count = newest.report?.report.findings.length ?? 0;
    const theirs = undecided(newest.report?.report.version ?? newest.row.version, count);
    const carried = carry(mine, before, newest);
    // Undo brings back the other.
    editing.rebase(carryOver ? [theirs, carried.copy] : [carried.copy, theirs]);
    setStrayed(carryOver ? carried : NONE);
    setConflict(null);
  };
  /** Puts what was begun with an older version on this one: decisions by what they were on then, and not by their place. */
  const takeStale = async (stale: WorkingCopy) => {
    try {
      const then = await get<Report>(`/studies/${row.uid}/reports/${stale.version}`);
      const carried = carry(stale, then.report.findings, study);
      editing.rebase([copy, carried.copy]);
      setStrayed(carried);
      editing.settle();
    } catch (error) {
      setProblem(`Your edits cannot be put on this version, for the one that they are of cannot be had: ${words(error)}`);
    }
  };
  /** Goes on with the copy that was kept elsewhere, which may be of a newer version. */
  const takeElsewhere = async (theirs: WorkingCopy) => {
    if (theirs.version !== copy.version && (await props.reload()) === null) return;
    if (theirs.version === copy.version) editing.replace(theirs);
    else editing.rebase([theirs]);
    editing.settle();
  };
  const beside = async (uid: string) => {
    if (prior?.row.uid === uid) return setPrior(null);
    try {
      setPrior(await get<Study>(`/studies/${uid}`));
    } catch (error) {
      setProblem(`The other study cannot be shown: ${words(error)}`);
    }
  };

  const revive = props.revive !== null && older === null && mayReview && props.removal === 'none' ? props.revive : null;
  const canReject = older === null && props.rejected === null && standing === 'unsigned_draft';
  useReadingKeys({ ask, mayEdit, canDiscard, canReject, revive, editing, hanging, editable, current, study, uid: row.uid, mode, step, canSign: !isOpen && preview.problem === '', move, choose, setMode, setStep, amend,
    decide: setDecision, acceptRest: () => { if (editable) { editing.change(acceptRest); setSaid('All findings that were not decided are accepted'); } }, remove, add: ask.isDrawing ? ask.take : add, toggleBoxes: () => setBoxes(!boxes), beside: (uid) => void beside(uid), say: setSaid });

  useEffect(() => {
    const first = list_items[0];
    if (first && chosen === null) {
      setChosen(first.id);
      if (first.finding.evidence[0]) hanging.jump(first.finding.evidence[0]);
    }
  }, [study.row.uid]);

  const head = document.getElementById('top-study');
  // What is not being edited is shown as it is: a preview may be of edits that nobody signed.
  const body = editable ? (editing.preview.report ?? report?.report) : report?.report;
  const shownVersion = report?.report.version ?? 0;
  const newest = Math.max(row.version, newer ?? 0);
  // A newer draft is none in the place of what was signed; a newer signature is.
  const signed = Math.max(0, ...study.versions.filter((each) => each.standing === 'signed' || each.standing === 'amended').map((each) => each.version), props.newerSigned ?? 0);
  const superseding = isSigned && signed > shownVersion ? signed : null;
  const isRejected = standing === 'unsigned_draft' && study.versions.some((each) => each.version === shownVersion + 1 && each.standing === 'rejected');
  const signedBefore = standing === 'unsigned_draft' ? study.versions.filter((each) => each.version < shownVersion && (each.standing === 'signed' || each.standing === 'amended')) : [];
  const before = signedBefore.toSorted((a, b) => b.version - a.version)[0] ?? null;
  const watermark = report === null ? '' : isRejected ? 'REJECTED' : standing === 'unsigned_draft' ? 'UNSIGNED DRAFT' : standing === 'rejected' ? 'REJECTED' : editable ? 'NOT SIGNED' : superseding !== null ? `SUPERSEDED: version ${shownVersion} of ${superseding}` : '';
  const { patient } = row;
  const mine = linesOf(copy, study.report?.report.findings ?? [], names);
  const placeOf = (item: Item) => {
    const count = item.finding.evidence.length;
    if (count === 0) return item.finding.presence === 'absent' ? '' : 'no place';
    return hanging.current?.kind === 'ct' ? `${count} ${count === 1 ? 'slice' : 'slices'}` : '';
  };
  return (
    <main class="study">
      <PaperHead row={row} report={report} newest={newest} superseding={superseding} standing={before} isAmending={editable && isSigned} isRejected={isRejected} />
      {head && createPortal(
        <div class="patient">
          <h1 dir="auto" title={personName(patient.name)}>{personName(patient.name)}</h1>
          <span class="whole">{patient.id}</span>
          <span class="whole">{[date(patient.birth_date), ageAt(patient.birth_date, row.study_date), patient.sex].filter((word) => word !== '').join(' · ')}</span>
          <span class="described" dir="auto">{[row.description, date(row.study_date), row.accession].filter((word) => word !== '').join(' · ')}</span>
          {readers.length > 0 && <p class="with">{readers.map((reader) => <span class="reader" key={reader.id}><bdi>{personName(reader.name)}</bdi> reads it too</span>)}</p>}
        </div>, head)}
      <Viewer hanging={hanging} items={list_items} chosen={chosen} hovered={hovered} boxes={boxes} choose={(id) => choose(id, false)} hover={setHovered} drawn={ask.isDrawing ? ask.take : add} asked={ask.marked} toggleBoxes={() => setBoxes(!boxes)}
        measured={(mm) => { setMeasured(mm === null ? null : Math.round(mm * 10) / 10); setSaid(mm === null ? '' : `${mm.toFixed(1)} mm`); }} />
      <section class="panel" aria-label="Draft" onPaste={(event) => pasted(event.target, event.clipboardData)} onDrop={(event) => pasted(event.target, event.dataTransfer)}>
        {props.removal !== 'none' && <p class="removal" role="alert"><strong>{props.removal === 'gone' ? 'REMOVED' : 'BEING REMOVED'}</strong> {props.removal === 'gone' ? 'This study was removed with all that was known of it: what is shown is not there any more.' : 'This study is being removed, with its images and its report. Nothing of it can be edited or signed.'}</p>}
        {report === null ? (
          <div class="banner b-none"><p><strong>{row.state}</strong></p><p>{row.problem ?? 'There is no draft of this study yet. It appears here by itself.'}</p></div>
        ) : (
          <Banner report={report} version={shownVersion} newest={newest} superseding={superseding} standing={before} isAmending={editable && isSigned} isRejected={isRejected && older !== null} show={(wanted) => (wanted > row.version ? void takeNewest(true) : props.show(wanted))} rejected={older === null ? props.rejected : null} />
        )}
        {report !== null && standing !== 'rejected' && <Limitations report={report.report} />}
        <div class="scroll" tabIndex={0} aria-label="Findings and report" role="region">
          {props.problem !== '' && <p class="problem" role="alert">{props.problem}</p>}
          {newer !== null && conflict === null && older === null && newer > (report?.report.version ?? 0) && (
            <p class="newer" role="status">Version {newer} of this report came while you were reading. <button onClick={() => void takeNewest(true)}>{isBegun(copy) ? 'Go to it with my edits' : 'Go to it'}</button></p>
          )}
          {conflict !== null && (
            <Conflict title={conflict.newest.row.standing === 'unsigned_draft' ? 'There is a newer draft: more images came' : 'This report was reviewed by somebody else first'} why="Nothing was signed by you, and nothing you wrote is lost. Choose what to go on with; undo brings back the other."
              theirs={{ heading: `Version ${conflict.newest.row.version}, ${byWhom(conflict.newest)}`, lines: conflict.newest.report ? linesOfReport(conflict.newest.report) : [], action: 'Go on with theirs alone', run: () => void takeNewest(false) }}
              mine={{ heading: `Yours, of version ${copy.version}`, lines: mine, action: 'Go on with theirs and put mine on it', run: () => void takeNewest(true) }} />
          )}
          {editing.saving.state === 'conflict' && (
            <Conflict title="You edited this study elsewhere, too" why="Another window or machine of yours kept a newer copy."
              theirs={{ heading: 'Kept elsewhere', lines: linesOf(editing.saving.theirs, study.report?.report.findings ?? [], names), action: 'Go on with that', run: () => void takeElsewhere((editing.saving as { theirs: WorkingCopy }).theirs) }}
              mine={{ heading: 'On this page', lines: mine, action: 'Keep this one', run: () => { editing.settle(); editing.keepMine(); } }} />
          )}
          {editing.stale !== null && (
            <Conflict title="You had begun with an older version" why={`Your edits of version ${editing.stale.version} were kept.`}
              theirs={{ heading: `Version ${report?.report.version ?? 0}, as it is`, lines: report ? linesOfReport(report) : [], action: 'Begin anew', run: () => void discard() }}
              mine={{ heading: 'Yours', lines: linesOf(editing.stale, staleFindings, names), action: 'Put mine on it', run: () => void takeStale(editing.stale!) }} />
          )}
          <StrayedList {...strayed} seen={() => setStrayed(NONE)} />
          {report !== null && standing === 'rejected' && <Rejected report={report} />}
          {report !== null && standing !== 'rejected' && (
            <section aria-label="Findings" class="findings">
              <div class="heading"><h2>Findings</h2>{editable && list_items.length > 0 && <span class="muted">{left(copy) === 0 ? 'all decided' : `${left(copy)} to decide`}</span>}{editable && left(copy) > 1 && <button class="plain" onClick={() => editing.change(acceptRest)}>Accept all <kbd>A</kbd></button>}</div>
              {list_items.length === 0 && <p class="muted">None of the findings that were looked for was seen. That does not say that the study is normal.</p>}
              <ol ref={list}>
                {list_items.map((item) => (
                  <FindingCard key={item.id} item={item} chosen={item.id === chosen} pointed={item.id === hovered} mode={item.id === chosen ? mode : 'look'} editable={editable} vocabulary={vocabulary} measured={measured} place={placeOf(item)}
                    choose={() => choose(item.id)} hover={(on) => setHovered(on ? item.id : null)}
                    setMode={(next) => (next === 'reject' && item.isAdded ? remove(item) : setMode(next))}
                    accept={() => setDecision(item, 'accept')} clear={() => setDecision(item, null)} reject={(reason) => setDecision(item, 'reject', reason)}
                    change={keep} say={(text) => say(item, text)} />
                ))}
              </ol>
              {editable && <p class="fine hint" role="status">{hanging.tool === 'box' && !ask.isDrawing ? <>Draw a box on the image, or move this one by arrows and size it by <kbd>Shift</kbd> and arrows; <kbd>Enter</kbd> takes it, <kbd>Esc</kbd> leaves it.</> : <>To add one, press <kbd>n</kbd> and draw a box on the image.</>}</p>}
            </section>
          )}
          {body && standing !== 'rejected' && <ReportText report={body} impression={copy.impression} made={made} isAsSigned={isSigned && made !== null && made.join('\n') === impressionOf(study.report?.report)} editable={editable} isOld={editing.preview.isOld} chosen={current?.number ? current.number - 1 : null} point={point} words={editable ? [] : (report?.review?.words ?? [])} write={(lines) => editing.change((was) => withImpression(was, lines), 'impression')}>
            {report !== null && <ImpressionHelp asking={props.asking} row={row} report={report} later={signed > shownVersion ? signed : null} now={impression?.join('\n') ?? null} say={setSaid} apply={editable ? (text) => editing.change((was) => withImpression(was, text.split('\n').map((line) => line.trim()).filter((line) => line !== ''))) : null} />}
          </ReportText>}
          <Priors priors={study.priors} name={patient.name} beside={prior?.row.uid ?? ''} show={(uid) => void beside(uid)} findings={study.report?.report.findings ?? []} names={names} choose={(finding) => choose(`f${finding}`)} />
          <Versions versions={study.versions} shown={report?.report.version ?? 0} show={props.show} />
          {report !== null && <p class="fine provenance">{report.provenance.map((each) => `${each.model}${each.base === undefined ? '' : ` on ${each.base}`}${each.demonstration ? ' (demonstration weights)' : ''}, prelim ${each.software_version}`).join('; ')}</p>}
        </div>
        {step === 'none' && <AskPanel ask={ask} who={session.account.id} study={row.uid} stacks={hanging.all} insert={editable && impression !== null ? ask.insert : null} whyNot={editable ? 'What the findings make is being looked up' : mayEdit ? 'Begin to amend the report first (s)' : null} />}
        {older !== null ? (
          <div class="sign-bar"><div class="row"><span>You are looking at version {older.report.version}.</span><span class="grow" /><button class="primary" onClick={() => props.show(study.report?.report.version ?? 0)}>Back to the newest</button></div></div>
        ) : revive !== null ? (
          <div class="sign-bar"><div class="row"><span class="blocked">The draft can be reviewed after all: what you sign then takes the place of the rejection.</span><span class="grow" /><button onClick={revive}>Review the rejected draft after all <kbd>s</kbd></button></div></div>
        ) : (
          report !== null && (mayEdit ? <SignBar discard={canDiscard ? () => void discard() : null} canReject={canReject} comparison={report.report.comparison.join('\n')} editing={editing} begin={editable ? null : amend} session={session} standing={standing} amends={amends} step={step} setStep={setStep} busy={busy} problem={problem} sign={(reason, seen) => void review('sign', reason, seen)} reject={(reason) => void review('reject', reason)} /> : !mayReview && <div class="sign-bar"><p class="blocked">You may read reports; reviewing and signing them takes the role “review”.</p></div>)
        )}
      </section>
      <p class="hidden" role="status" aria-live="polite">{said}</p>
      {watermark !== '' && <div class="watermark" aria-hidden="true">{watermark}</div>}
    </main>
  );
}

function impressionOf(body: Report['report'] | undefined): string {
  return body?.impression.map((each) => each.text).join('\n') ?? '';
}

/** Who made the newest version. */
function byWhom({ versions, row }: Study): string {
  const by = versions.find((each) => each.version === row.version)?.by;
  return by ? personName(by) : 'a new draft';
}
