/** Holds the stream for the tabs of a browser (a SharedWorker): a tab says whose session it shows, and nothing where it leaves. */

import { Stream, type Told } from './stream.ts';

/** The tabs that listen. */
const ports = new Set<MessagePort>();
/** Whose session they show: what one person may know is told to no tab of another. */
let session = '';
let stream: Stream | null = null;

function tell(told: Told): void {
  for (const port of ports) port.postMessage(told);
}

function join(port: MessagePort, shown: string): void {
  if (shown !== session) {
    stream?.close();
    stream = null;
    tell({ name: 'superseded', data: '' });
    ports.clear();
    session = shown;
  }
  ports.add(port);
  if (stream === null) stream = new Stream(tell);
  else if (stream.isLive) port.postMessage({ name: 'live', data: '' } satisfies Told);
}

function leave(port: MessagePort): void {
  ports.delete(port);
  if (ports.size > 0) return;
  stream?.close();
  stream = null;
}

addEventListener('connect', (event) => {
  const [port] = (event as MessageEvent).ports;
  if (port === undefined) return;
  port.onmessage = ({ data }: MessageEvent<string>) => (data === '' ? leave(port) : join(port, data));
});
