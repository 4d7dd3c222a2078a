/** Agreement: what radiologists made of drafts, per finding, site, model and scanner, over time. */

import { useEffect, useState } from 'preact/hooks';
import { ApiError, endSession, get, serverNow, words } from '../api/client.ts';
import type { AgreementAnswer, Session, Tally } from '../api/types.ts';
import { go } from '../route.ts';

const BY = ['finding', 'site', 'model', 'scanner'] as const;
const PARTS = ['accepted', 'changed', 'rejected', 'added'] as const;

/** A group with its weeks, the first one first; a week in which it was not met has none of it. */
interface AgreementGroup extends Tally {
  group: string;
  weeks: (Tally & { week: string })[];
}

const NONE: Tally = { accepted: 0, changed: 0, rejected: 0, added: 0 };

/** Weeks that are drawn: the newest. */
const MAX_WEEKS = 260;

/** Weeks that can have been: a clock may have been wrong when something was signed. */
function drawn(weeks: AgreementAnswer['weeks']): AgreementAnswer['weeks'] {
  const today = new Date(serverNow()).toISOString().slice(0, 10);
  return weeks.filter(({ week }) => week <= today).slice(-MAX_WEEKS);
}

function byGroup({ groups, weeks }: AgreementAnswer): AgreementGroup[] {
  const shown = drawn(weeks);
  return groups.map(({ group, counts }) => ({ group, ...counts, weeks: shown.map((each) => ({ week: each.week, ...(each.groups[group] ?? NONE) })) }));
}

function total(tally: Tally): number {
  return PARTS.reduce((sum, part) => sum + tally[part], 0);
}

/** Accepted as they were, of those that the draft had. */
function share(tally: Tally): number | null {
  const drafted = tally.accepted + tally.changed + tally.rejected;
  return drafted === 0 ? null : tally.accepted / drafted;
}

/** Bounds of a share at 95 % (Wilson): few reviews say little. */
function bounds(tally: Tally): [number, number] {
  const n = tally.accepted + tally.changed + tally.rejected;
  if (n === 0) return [0, 1];
  const [p, z] = [tally.accepted / n, 1.96];
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

function Bar({ tally, most }: { tally: Tally; most: number }) {
  let x = 0;
  const label = PARTS.map((part) => `${tally[part]} ${part}`).join(', ');
  return (
    <svg class="bar-plot" viewBox="0 0 300 14" preserveAspectRatio="none" role="img" aria-label={label}>
      {PARTS.map((part) => {
        const width = (tally[part] / most) * 300;
        const rect = <rect key={part} class={`part-${part}`} x={x} width={Math.max(0, width - 0.5)} height="14" />;
        x += width;
        return rect;
      })}
    </svg>
  );
}

function Weeks({ group }: { group: AgreementGroup }) {
  const points = group.weeks.map((week) => share(week));
  const x = (index: number) => 4 + (index * 192) / Math.max(1, points.length - 1);
  const y = (value: number) => 40 - value * 36;
  const known = points.flatMap((value, index) => (value === null ? [] : [[x(index), y(value)] as const]));
  const first = group.weeks[0]?.week ?? '';
  const last = group.weeks.at(-1)?.week ?? '';
  return (
    <svg class="week-plot" viewBox="0 0 200 44" role="img" aria-label={`Accepted per week, ${first} to ${last}: ${points.map((value) => (value === null ? 'none' : `${Math.round(value * 100)} %`)).join(', ')}`}>
      <line x1="4" x2="196" y1={y(0)} y2={y(0)} class="axis" />
      <line x1="4" x2="196" y1={y(1)} y2={y(1)} class="axis" />
      <polyline points={known.map((point) => point.join(',')).join(' ')} />
      {known.map(([cx, cy]) => <circle key={cx} cx={cx} cy={cy} r="1.8" />)}
    </svg>
  );
}

const EXPORT = '/api/agreement/export';

/** Fetches the export as a file, where the session still counts: a link that is refused says nothing. */
async function fetchExport(): Promise<void> {
  await get('/session');
  const link = document.createElement('a');
  link.href = EXPORT;
  link.download = 'reviewed.jsonl';
  link.click();
}

/** From which week to which. */
function span(weeks: { week: string }[]): string {
  const [first, last] = [weeks[0]?.week ?? '', weeks.at(-1)?.week ?? ''];
  return first === last ? first : `${first} to ${last}`;
}

export function Agreement({ query, session }: { query: URLSearchParams; session: Session }) {
  const by = BY.find((each) => each === query.get('by')) ?? 'finding';
  const [groups, setGroups] = useState<AgreementGroup[] | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    document.title = 'Agreement · prelim';
    let gone = false;
    get<AgreementAnswer>(`/agreement?by=${by}`).then(
      (answer) => {
        if (gone) return;
        setGroups(byGroup(answer));
        setProblem('');
      },
      (error: unknown) => !gone && setProblem(words(error)),
    );
    return () => {
      gone = true;
    };
  }, [by]);
  const take = (event: Event) => {
    event.preventDefault();
    setProblem('');
    fetchExport().catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 401) endSession();
      else setProblem(words(error));
    });
  };
  const most = Math.max(1, ...(groups ?? []).map(total));
  return (
    <main class="agreement">
      <h1>Agreement</h1>
      <p class="muted">What models drafted against what stands signed now: the newest signed version of each report, beside the draft that it goes back to, whatever was decided in between. Findings that a draft missed count as added; those of a draft that was rejected, and of which nothing was signed, as rejected. The week is that of the newest review.</p>
      <div class="states" role="group" aria-label="Group by">
        {BY.map((each) => <button key={each} aria-pressed={by === each} onClick={() => go(`/agreement?by=${each}`, true)}>by {each}</button>)}
      </div>
      <p class="key">{PARTS.map((part) => <span key={part}><i class={`part-${part}`} /> {part}</span>)}</p>
      {problem !== '' && <p class="problem" role="alert">{problem}</p>}
      {groups !== null && groups.length === 0 && <p class="muted">No report was reviewed yet.</p>}
      {groups !== null && groups.length > 0 && (
        <table>
          <thead><tr><th scope="col">{by.charAt(0).toUpperCase() + by.slice(1)}</th><th scope="col">Decisions</th><th scope="col" class="n">Accepted</th><th scope="col" class="n">Changed</th><th scope="col" class="n">Rejected</th><th scope="col" class="n">Added</th><th scope="col" class="n">Accepted as drafted, 95 %</th><th scope="col">Per week, 0 to 100 %<br />{span(groups[0]?.weeks ?? [])}</th></tr></thead>
          <tbody>
            {groups.map((group) => {
              const accepted = share(group);
              const [low, high] = bounds(group);
              return (
                <tr key={group.group}>
                  <th scope="row">{group.group.replaceAll('_', ' ')}</th>
                  <td><Bar tally={group} most={most} /></td>
                  {PARTS.map((part) => <td class="n" key={part}>{group[part]}</td>)}
                  <td class="n">{accepted === null ? '' : <>{Math.round(accepted * 100)} % <span class="muted">({Math.round(low * 100)} to {Math.round(high * 100)})</span></>}</td>
                  <td><Weeks group={group} /></td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {groups !== null && groups.length > 0 && session.account.roles.includes('review') && (
        <p>
          <a class="button" href={EXPORT} download="reviewed.jsonl" onClick={take} aria-describedby="of-export">Signed reports for training (JSON Lines)</a>{' '}
          <span class="muted" id="of-export">No images. Sentences that may name somebody, and words of models, are left out as far as software finds them, UIDs are replaced: have a person look before it leaves the house.</span>
        </p>
      )}
    </main>
  );
}
