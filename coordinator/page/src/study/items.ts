/** The findings as the reader sees them now: those of the draft with what was decided, then those that were added. Their order is that
 * of the report, which numbers them alike in all its forms. Pure. */

import type { Decided, Report, Urgency, Written, WorkingCopy } from '../api/types.ts';

export interface Item {
  /** Its number in the report as it would be signed; nothing where it has none there, or none yet. */
  number: number | null;
  /** "f0" for a finding of the draft, "a0" for one that was added. */
  id: string;
  index: number;
  isAdded: boolean;
  finding: Written;
  name: string;
  /** The model's own estimate; nothing where a person says it. */
  confidence: number | null;
  /** A radiologist answers for it: what the model estimated is told beside it, and is not the report's own. */
  isSigned: boolean;
  decision: Decided['decision'] | 'added';
  words: string;
  reason: string;
  /** The finding of the draft, and its sentence; nothing for one that was added. */
  draft: { finding: Written; sentence: string } | null;
  /** The sentence as it will be in the report; empty where that is not known yet, or there will be none. */
  sentence: string;
  urgency: Urgency | null;
}

/** What became of a finding of the draft, or of one that was added, in the report that would be signed. */
export interface Made {
  /** Which of that report's findings it is; nothing where it does not stand. */
  place: number | null;
  sentence: string | null;
}

/** Places in the report that would be signed, in the order of decisions and additions; as they are in the draft where nothing was made
 * of it yet. `of` is the copy that it was made of: what was added since, or may be another since one was removed, has none yet. */
function placesOf(copy: WorkingCopy, made: Made[] | null, of: WorkingCopy | null): (number | null)[] {
  const { length } = copy.decisions;
  const isAlike = of !== null && of.version === copy.version && of.decisions.length === length;
  const drafted = copy.decisions.map((_, index) => (made !== null && isAlike ? (made[index]?.place ?? null) : index));
  return [...drafted, ...copy.added.map((_, index) => (made !== null && isAlike && of.added.length === copy.added.length ? (made[length + index]?.place ?? null) : null))];
}

/** `made` is what the report has of the copy `of` that it was made of; nothing where none was made, or it is not known which. Its
 * sentences count only where that is this copy. */
export function items(report: Report, copy: WorkingCopy, names: Map<string, string>, preview: { made: Made[] | null; of: WorkingCopy | null } | null): Item[] {
  const { findings, findings_text } = report.report;
  const places = placesOf(copy, preview?.made ?? null, preview?.of ?? null);
  const number = (place: number | null | undefined) => (place === null || place === undefined ? null : place + 1);
  const made = preview !== null && preview.of === copy ? (preview.made?.map(({ sentence }) => sentence) ?? null) : null;
  const ofDraft = findings.map((finding, index): Item => {
    const decided = copy.decisions[index] ?? { decision: null, words: '', reason: '' };
    const changed = decided.decision === 'change' && decided.finding !== undefined ? decided.finding : undefined;
    const own = findings_text.find((each) => each.findings.length === 1 && each.findings[0] === index)?.text ?? '';
    return {
      id: `f${index}`,
      number: decided.decision === 'reject' ? null : number(places[index]),
      index,
      isAdded: false,
      finding: changed ?? finding,
      name: names.get((changed ?? finding).key) ?? finding.name,
      confidence: changed === undefined && decided.words === '' && finding.by !== 'radiologist' ? finding.confidence : null,
      isSigned: isSigned(report),
      decision: decided.decision,
      words: decided.words,
      reason: decided.reason,
      draft: { finding, sentence: own },
      sentence: made?.[index] ?? (made !== null || decided.decision === 'change' || decided.decision === 'reject' ? '' : own),
      urgency: changed === undefined ? (finding.urgency ?? null) : urgencyOf(changed),
    };
  });
  const added = copy.added.map(({ finding, words, reason }, index): Item => ({
    id: `a${index}`,
    number: number(places[findings.length + index]),
    index,
    isAdded: true,
    finding,
    name: names.get(finding.key) ?? finding.key,
    confidence: null,
    isSigned: false,
    decision: 'added',
    words,
    reason,
    draft: null,
    sentence: made?.[findings.length + index] ?? '',
    urgency: urgencyOf(finding),
  }));
  return [...ofDraft, ...added];
}

/** How soon a person should look, as the server has it, so that a change shows before it answers. */
function urgencyOf({ key, presence, severity }: Written): Urgency {
  if (presence === 'absent') return 'routine';
  const much = severity === 'large' || severity === 'severe';
  if (key === 'pneumothorax') return much ? 'critical' : 'urgent';
  return much && ['pleural_effusion', 'consolidation', 'interstitial_edema', 'atelectasis'].includes(key) ? 'urgent' : 'routine';
}

function isSigned({ status }: Report): boolean {
  return status === 'signed' || status === 'amended';
}
