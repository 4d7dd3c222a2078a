/** One finding: what it is, how sure the model is, what the reader decided. */

import type { Vocabulary } from '../api/types.ts';
import { confidenceWord, percent, title } from '../words.ts';
import { FindingForm } from './finding_form.tsx';
import type { Item } from './items.ts';

export type Mode = 'look' | 'change' | 'reject' | 'words';

interface Props {
  item: Item;
  chosen: boolean;
  /** The pointer is on its box. */
  pointed: boolean;
  mode: Mode;
  editable: boolean;
  vocabulary: Vocabulary;
  choose: () => void;
  hover: (on: boolean) => void;
  setMode: (mode: Mode) => void;
  accept: () => void;
  clear: () => void;
  reject: (reason: string) => void;
  change: (item: Item) => void;
  say: (words: string) => void;
  place: string;
  measured: number | null;
}

const DECISIONS: Record<string, string> = { accept: 'accepted', change: 'changed', reject: 'rejected', added: 'added by you' };

export function FindingCard(props: Props) {
  const { item, chosen, pointed, mode, editable, setMode } = props;
  const { finding, confidence } = item;
  const word = confidence === null ? null : confidenceWord(confidence);
  const decided = item.decision === null ? 'to decide' : DECISIONS[item.decision]!;
  const said = item.words !== '' ? item.words : item.sentence;
  return (
    <li class={`finding ${chosen ? 'chosen' : ''} ${pointed ? 'pointed' : ''} d-${item.decision ?? 'none'} p-${finding.presence}`} id={`finding-${item.id}`} aria-current={chosen ? 'true' : undefined}
      onPointerEnter={() => props.hover(true)} onPointerLeave={() => props.hover(false)}>
      <button class="finding-head" onClick={props.choose} aria-expanded={chosen}>
        <span class="number" title={item.number === null ? 'It has no number in the report' : undefined}>{item.number ?? '–'}</span>
        <span class="what">
          <span class="title">{finding.presence === 'absent' ? 'No ' : ''}{finding.presence === 'absent' ? title(finding, item.name).toLowerCase() : title(finding, item.name)}{finding.presence === 'uncertain' ? ' · uncertain' : ''}</span>
          {item.urgency !== null && item.urgency !== 'routine' && <span class={`mark u-${item.urgency}`}>{item.urgency}</span>}
        </span>
        {editable && <span class={`decision d-${item.decision ?? 'none'}`}>{decided}</span>}
      </button>
      <div class="finding-line">
        {confidence !== null && item.isSigned ? (
          <span class="conf of-model" title="What the model estimated before a radiologist accepted the finding. It is not a probability of disease.">model: {percent(confidence)}</span>
        ) : confidence !== null && word !== null ? (
          <span class={`conf conf-${word.replace(' ', '-')}`} title="The model's own estimate that this is there. It is not a probability of disease.">
            <svg viewBox="0 0 48 4" width="48" height="4" aria-hidden="true"><rect width="48" height="4" class="rail" /><rect width={48 * confidence} height="4" class="bar" /></svg>
            {percent(confidence)} <i>{word} confidence</i>
          </span>
        ) : (
          <span class="conf by-person">{item.isAdded || item.decision === 'change' ? 'by you, not signed' : 'by a radiologist'}</span>
        )}
        <span class="place">{props.place}</span>
      </div>
      {said !== '' && <p class={item.words !== '' ? 'sentence own' : 'sentence'} dir="auto">{said}</p>}
      {item.decision === 'reject' && item.reason !== '' && <p class="reason">Rejected: <bdi>{item.reason}</bdi></p>}
      {chosen && editable && mode === 'look' && (
        <div class="acts">
          {!item.isAdded && <button onClick={props.accept} class={item.decision === 'accept' ? 'on' : ''} aria-pressed={item.decision === 'accept'}>Accept <kbd>a</kbd></button>}
          <button onClick={() => setMode('change')} class={item.decision === 'change' ? 'on' : ''}>Change <kbd>c</kbd></button>
          <button onClick={() => setMode('reject')} class={item.decision === 'reject' ? 'on' : ''}>{item.isAdded ? 'Remove' : 'Reject'} <kbd>x</kbd></button>
          <button onClick={() => setMode('words')}>Words <kbd>w</kbd></button>
          {!item.isAdded && item.decision !== null && <button class="plain" onClick={props.clear}>Undecide <kbd>d</kbd></button>}
        </div>
      )}
      {chosen && editable && mode === 'change' && <FindingForm vocabulary={props.vocabulary} item={item} measured={props.measured} done={(next) => { props.change(next); setMode('look'); }} cancel={() => setMode('look')} />}
      {chosen && editable && mode === 'reject' && !item.isAdded && <Ask label="Why is it rejected?" value={item.reason} options={['not there', 'artefact', 'normal variant', 'wrong finding', 'duplicate']} action="Reject" done={(reason) => { props.reject(reason); setMode('look'); }} cancel={() => setMode('look')} required />}
      {chosen && editable && mode === 'words' && <Ask label="The sentence of this finding" value={item.words || item.sentence} options={[]} action="Keep" done={(text) => { props.say(text === item.sentence ? '' : text); setMode('look'); }} cancel={() => setMode('look')} />}
    </li>
  );
}

interface AskProps {
  label: string;
  value: string;
  options: string[];
  action: string;
  done: (text: string) => void;
  cancel: () => void;
  required?: boolean;
}

/** One line of text; Enter keeps it, Escape leaves it. */
export function Ask({ label, value, options, action, done, cancel, required }: AskProps) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get('text') ?? '').trim();
    if (text !== '' || required !== true) done(text);
  };
  return (
    <form class="ask" onSubmit={submit} onKeyDown={(event) => { if (event.key === 'Escape') { event.preventDefault(); event.stopPropagation(); cancel(); } }}>
      <label>
        {label}
        <input name="text" dir="auto" maxLength={2000} defaultValue={value} required={required ?? false} autocomplete="off" onInput={(event) => { event.currentTarget.dataset['own'] = 'yes'; }} list={options.length > 0 ? 'reasons' : undefined} ref={(input) => { if (input && document.activeElement !== input && !input.dataset['met']) { input.dataset['met'] = 'yes'; input.focus(); input.select(); } }} />
      </label>
      {options.length > 0 && <datalist id="reasons">{options.map((option) => <option key={option} value={option} />)}</datalist>}
      <div class="acts">
        <button type="submit" class="primary">{action} <kbd>Enter</kbd></button>
        <button type="button" class="plain" onClick={cancel}>Leave <kbd>Esc</kbd></button>
      </div>
    </form>
  );
}
