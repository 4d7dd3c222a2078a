/** What the coordinator's API says, in its own words (JSON, snake_case). */

export type Presence = 'present' | 'absent' | 'uncertain';
export type Urgency = 'routine' | 'urgent' | 'critical';
export type Priority = 'routine' | 'urgent' | 'stat';
export type Standing = 'unsigned_draft' | 'signed' | 'amended' | 'rejected';

/** A rectangle in fractions of a frame's height and width, from its upper left corner. */
export interface Box {
  top: number;
  left: number;
  bottom: number;
  right: number;
}

/** Where a finding was seen. Frames count from 1. */
export interface Place {
  instance: string;
  series: string;
  frame: number;
  box?: Box;
}

/** A finding as a person writes it. */
export interface Written {
  key: string;
  presence: Presence;
  laterality?: string;
  zone?: string;
  severity?: string;
  size_mm?: number;
  evidence: Place[];
}

/** A finding of a report. */
export interface Finding extends Omit<Written, 'evidence'> {
  name: string;
  confidence: number;
  /** Tracking Unique Identifier: the same in every version that has it. */
  tracking?: string;
  urgency?: Urgency;
  /** Who says it: a radiologist who changed or added it, in this version or an earlier one, or the model. */
  by?: 'radiologist' | 'model';
  /** What the report says of it. */
  sentence?: string | null;
  evidence: (Place & { confidence: number })[];
}

export interface Statement {
  text: string;
  findings: number[];
}

/** A sentence that has words of a model's answer, which somebody took into the report. */
export interface Inserted {
  /** Which text it is of; nothing for the impression. */
  passage?: 'findings' | 'impression';
  /** From 0. */
  sentence: number;
  asked: QuestionKind;
  model: string;
  adapter?: string;
  prompt_version: string;
  demonstration: boolean;
  answered_at_ms: number;
  by: string;
  at_ms: number;
  /** It is not what the model said. */
  changed: boolean;
  /** Typed or pasted, and not inserted by the button. */
  by_hand?: boolean;
}

/** Where the words of a sentence of a reviewed report are from. */
export interface WordsFrom {
  passage: 'findings' | 'impression';
  /** From 0. */
  sentence: number;
  origin: 'draft' | 'decisions' | 'answer' | 'person';
  /** Since which version. */
  version: number;
  by?: string;
}

export interface ReportBody {
  version: number;
  urgency: Urgency;
  partial: boolean;
  technique: string[];
  comparison: string[];
  findings: Finding[];
  findings_text: Statement[];
  impression: Statement[];
  inserted?: Inserted[];
  limitations: string[];
  unread: { instance: string; reason: string; detail: string }[];
}

/** What was decided of a finding: those of the version that was reviewed, in its order, then those that were added. */
export interface Assessed {
  /** Which of the report's findings it is; nothing where it does not stand. */
  finding?: number;
}

export interface Report {
  status: Standing;
  demonstration: boolean;
  statement: string;
  report: ReportBody;
  provenance: { model: string; base?: string; software_version: string; demonstration: boolean }[];
  review?: { reviewer: string; organization: string; at_ms: number; reason: string; assessments?: Assessed[]; words?: WordsFrom[] };
}

export interface Reader {
  id: string;
  name: string;
  since_ms: number;
}

export interface Patient {
  name: string;
  id: string;
  birth_date: string;
  sex: string;
}

/** A line of the worklist. */
export interface Row {
  uid: string;
  tenant: string;
  state: string;
  standing: Standing | null;
  version: number;
  patient: Patient;
  study_date: string;
  description: string;
  modalities: string[];
  body_part: string | null;
  institution: string;
  station: string | null;
  accession: string;
  /** What the draft says. */
  urgency: Urgency | null;
  /** What was asked for. */
  priority: Priority;
  confidence: number | null;
  findings: number;
  received_at_ms: number;
  changed_at_ms: number;
  problem: string | null;
  readers: Reader[];
}

export interface Instance {
  uid: string;
  /** Instance Number (0020,0013); nothing where the header has none. */
  number: number | null;
  frames: number;
  rows: number;
  columns: number;
  position: number[] | null;
  orientation: number[] | null;
  /** Between rows, between columns, in mm. */
  spacing: number[] | null;
  spacing_is_calibrated: boolean;
  laterality: string | null;
  view_position: string | null;
  /** Of what is no slice: whereto rows go, whereto columns go (C.7.6.1.1.1). */
  patient_orientation: [string, string] | null;
}

/** What makes shades of a frame's values; comes with them. */
export interface FrameFacts {
  bits: 8 | 16 | 32;
  signed: boolean;
  samples: 1 | 3;
  slope: number;
  intercept: number;
  /** That of the header. Of a table, a window that is about as steep, and whether its shades fall as values rise. */
  window: { center: number; width: number; function: 'linear' | 'linear_exact' | 'sigmoid' | 'table'; falls?: boolean } | null;
  /** How many shades come behind the values, one for each value from the smallest to the largest; none where the window is a line. */
  shades?: number;
  inverted: boolean;
  /** Values from and to which there is no image. */
  padding: [number, number] | null;
  smallest: number;
  largest: number;
}

export interface Series {
  uid: string;
  modality: string;
  description: string;
  number: number | null;
  body_part: string | null;
  kind: 'xray' | 'ct' | 'other';
  instances: Instance[];
}

export interface Version {
  version: number;
  standing: Standing;
  at_ms: number;
  by: string | null;
  reason: string | null;
}

export type ChangeKind = 'new' | 'larger' | 'smaller' | 'no_longer_seen' | 'seen_only_now' | 'seen_only_then' | 'unchanged';

/** What became of a finding between two studies. */
export interface Changed {
  change: ChangeKind;
  /** Which of the report's findings, where it is seen now. */
  finding?: number;
  /** As it was then. */
  earlier?: Omit<Written, 'evidence'>;
}

export interface Prior {
  uid: string;
  date: string;
  description: string;
  /** Whose it is, as its own header has it. */
  patient_name?: string;
  /** The report compares with it, finding by finding. */
  compared: boolean;
  /** The report takes it into account, and be it by name. */
  taken?: boolean;
  is_later?: boolean;
  /** What the report says that changed since; nothing where it does not compare. */
  changes?: Changed[] | null;
  /** Why it is not compared finding by finding. */
  reasons: string[];
  /** What became of its report since this one took it into account; nothing where it is the same. */
  since?: string | null;
  report: { sentences: string[]; impression?: string[]; standing: Standing } | null;
}

export interface Study {
  row: Row;
  versions: Version[];
  standing_version: number;
  report: Report | null;
  working_copy: (WorkingCopy & { etag: string }) | null;
  series: Series[];
  priors: Prior[];
  readers: Reader[];
}

export interface Decided {
  decision: 'accept' | 'change' | 'reject' | null;
  finding?: Written;
  words: string;
  reason: string;
}

export interface Added {
  finding: Written;
  words: string;
  reason: string;
}

/** What a reader has decided so far of one version. */
export interface WorkingCopy {
  version: number;
  decisions: Decided[];
  added: Added[];
  impression: string[];
  reason: string;
  saved_at_ms?: number;
}

export interface Session {
  account: { id: string; name: string | null; roles: string[]; organization: string | null };
  /** How they signed in. */
  way: 'password' | 'oidc';
  csrf: string;
  expires_at_ms: number;
  demonstration: boolean;
}

/** A word for programs and for people. */
export interface Word {
  key: string;
  name: string;
}

export interface Vocabulary {
  findings: Word[];
  sides: Word[];
  /** Parts of the lung or chest. */
  sites: Word[];
  severities: Word[];
  presences: string[];
}

export interface Tally {
  accepted: number;
  changed: number;
  rejected: number;
  added: number;
}

export interface AgreementAnswer {
  /** How many reports were reviewed. */
  reports: number;
  groups: { group: string; counts: Tally }[];
  /** By the Monday that each begins with, as 2026-11-23. */
  weeks: { week: string; groups: Record<string, Tally | undefined> }[];
}

export type QuestionKind = 'question' | 'describe' | 'shorten' | 'explain';

/** An image of the study, and a part of it. Frames count from 1. */
export interface Region {
  instance: string;
  frame: number;
  box?: Box | null;
}

/** What somebody asked of the model, and what it answered: never a part of the report. */
export interface Question {
  id: string;
  kind: QuestionKind;
  text: string;
  image: Region | null;
  state: 'waiting' | 'answering' | 'answered' | 'failed';
  asked_at_ms: number;
  answered_at_ms: number | null;
  answer: string | null;
  /** The answer reached the longest that the model may give. */
  truncated: boolean;
  /** The text was to be shortened, and the answer is no shorter. */
  no_shorter: boolean;
  problem: string | null;
  /** The images that the model looked at; with the part that it was shown by itself, where it was. */
  images: { instance: string; series: string; frame: number; box?: Box | null }[];
  model: string | null;
  adapter: string | null;
  prompt_version: string | null;
  /** How long the model took. */
  seconds: number | null;
  demonstration: boolean;
  /** What an answer is, and what it is not. */
  statement: string | null;
}

export interface Questions {
  /** The caller's own, newest first. */
  questions: Question[];
  /** Whether a worker is here that answers. */
  answers: boolean;
  /** What can be asked; nothing where none answers. */
  kinds: QuestionKind[];
  /** Why none answers, in words. */
  reason: string | null;
  /** The study's report as it is now. */
  report: { version: number; signed_version: number; standing: Standing | null };
}
