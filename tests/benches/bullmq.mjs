// One measurement of BullMQ, for jobs.py beside this file: prints a JSON object.
//
// usage: node bullmq.mjs PORT KIND STUDIES AT_ONCE FOLDER, where KIND is `jobs` (four jobs a study that have nothing to do
// with each other), `bulk` (the same jobs, a hundred added at a time) or `flows` (four jobs a study and a parent that reads
// what they answered), AT_ONCE is how many jobs the worker does at once, and FOLDER holds node_modules.
//
// Studies arrive one by one, as ours do, except in `bulk`, which is BullMQ at its best. One worker does many jobs at once,
// and each commit brings the next job along. What is added and answered is as large as ours. Finished jobs are removed.
import { createRequire } from 'node:module';

const [port, kind, studies, atOnce] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
const require = createRequire(`${process.argv[6]}/`);
const { FlowProducer, Queue, Worker } = require('bullmq');
const { Redis } = require('ioredis');

const CHILDREN = 4;
const STUDIES_AT_ONCE = 32;
const BULK = 25;
const PAYLOAD = { spec: 'x'.repeat(400) };
const OUTCOME = { findings: 'x'.repeat(400) };
const KEPT = { removeOnComplete: true, removeOnFail: true };

const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const name = `bench-${process.pid}`;
const redis = new Redis(connection);
const queue = new Queue(name, { connection });
const flows = new FlowProducer({ connection });

let left = 0;
let finished;
async function work(job) {
  if (job.name === 'merge') {
    const values = Object.values(await job.getChildrenValues());
    if (values.length !== CHILDREN) throw new Error(`${values.length} of ${CHILDREN} children were told`);
  }
  return OUTCOME;
}
const worker = new Worker(name, work, { connection, concurrency: atOnce });
worker.on('completed', () => {
  left -= 1;
  if (left === 0) finished();
});
worker.on('failed', (_, error) => { throw error; });

const jobsOfStudy = CHILDREN + (kind === 'flows' ? 1 : 0);
const read = { name: 'read', queueName: name, data: PAYLOAD, opts: KEPT };

async function add(many) {
  if (kind !== 'flows') return queue.addBulk(Array(many * CHILDREN).fill(read));
  return flows.add({ name: 'merge', queueName: name, data: PAYLOAD, opts: KEPT, children: Array(CHILDREN).fill(read) });
}

// Adds so many studies, and waits until all is done.
async function round(many) {
  left = many * jobsOfStudy;
  const done = new Promise((resolve) => { finished = resolve; });
  const together = kind === 'bulk' ? BULK : 1;
  let to = many;
  const addNext = async () => {
    while (to > 0) {
      const some = Math.min(together, to);
      to -= some;
      await add(some);
    }
  };
  await Promise.all(Array.from({ length: kind === 'bulk' ? 1 : STUDIES_AT_ONCE }, addNext));
  await done;
}

async function redisCpu() {
  const text = await redis.info('cpu');
  const of = (field) => Number(text.match(new RegExp(`${field}:([0-9.]+)`))[1]);
  return of('used_cpu_user') + of('used_cpu_sys');
}

await worker.waitUntilReady();
// The compiler has seen the code once before it is measured.
await round(Math.ceil(studies / 10));
const [redisBefore, ownBefore, began] = [await redisCpu(), process.cpuUsage(), performance.now()];
await round(studies);
const seconds = (performance.now() - began) / 1e3;
const own = process.cpuUsage(ownBefore);
const jobs = studies * jobsOfStudy;
const perJob = { redis: ((await redisCpu()) - redisBefore) * 1e6 / jobs, client: (own.user + own.system) / jobs };
console.log(JSON.stringify({
  jobs, seconds, jobs_per_second: jobs / seconds,
  cpu_us_per_job: { ...perJob, all: perJob.redis + perJob.client },
  bullmq: require('bullmq/package.json').version, ioredis: require('ioredis/package.json').version, node: process.versions.node,
  redis: (await redis.info('server')).match(/redis_version:(\S+)/)[1],
}));
await worker.close();
await queue.obliterate({ force: true });
await Promise.all([queue.close(), flows.close(), redis.quit()]);
