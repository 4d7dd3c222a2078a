-- What every operation stands on. KEYS[1] is the prefix of all keys, with the hash tag that keeps them in one slot of a
-- cluster; ARGV[1] is the time in ms for tests, empty otherwise. The layout of the keys is in ../mod.rs.
--
-- A line of three dashes begins a part. A script gets the parts whose names it uses, and those that they use: a call of
-- a script makes all its functions anew. Numbers cost more as arguments than text does: each is written out, to its last
-- digit.

local P = KEYS[1]
local call = redis.call
local HOUR_MS = 3600000

---
-- Longest step of the server's clock that is taken for time gone by, in ms. Coordinators look after the queue twice a
-- second: a longer gap means that the clock was set, or that nobody was there to renew a lease. Neither ends one.
-- Steps shorter than the other are not written down.
local MAX_STEP_MS, MIN_STEP_MS = 5000, 100

-- The wall's clock, for people, and the queue's clock, by which leases end and jobs wait. The queue's clock never goes
-- back and never jumps.
local function clocks()
  if ARGV[1] ~= '' then
    local t = tonumber(ARGV[1])
    return t, t
  end
  local time = call('TIME')
  local wall = time[1] * 1000 + math.floor(time[2] / 1000)
  local held = call('HMGET', P .. 'clock', 'seen', 'behind')
  local seen, behind = tonumber(held[1] or wall), tonumber(held[2] or 0)
  local step = wall - seen
  if step < 0 then
    behind = behind + step
  elseif step > MAX_STEP_MS then
    behind = behind + step - MAX_STEP_MS
  end
  if step < 0 or step >= MIN_STEP_MS or not held[1] then
    call('HSET', P .. 'clock', 'seen', wall, 'behind', behind)
  end
  return wall, wall - behind
end

---
-- A job's record is a packed list; these are its places. State: r(eady) l(eased) d(one) D(ead) c(ancelled). How a lease
-- was settled: C(ompleted) R(etried) B(uried) L(et go). The last is missing where any worker will do.
local KIND, STATE, RANK, NOT_BEFORE, WAITED, ATTEMPTS, TOKEN = 1, 2, 3, 4, 5, 6, 7
local EXPIRES, WORKER, SETTLED, SETTLED_HOW, UPDATED, TENANT, REQUEST, DEMAND = 8, 9, 10, 11, 12, 13, 14, 15

---
-- Whether a job of that kind reads images for its study's draft. The others are merges and questions.
local function is_read(kind)
  return kind == 'x' or kind == 'c'
end

---
local function get_job(uid, n)
  local packed = call('HGET', P .. 'j:' .. uid, n)
  return packed and cmsgpack.unpack(packed)
end

---
local function put_job(uid, n, job)
  call('HSET', P .. 'j:' .. uid, n, cmsgpack.pack(job))
end

---
-- Changes of many jobs, written at the end of a script in few commands: fields of jobs by study, members by queue. Until
-- then nothing in the server shows them.
local changed, leaving, entering = {}, {}, {}

local function list_of(lists, name)
  local list = lists[name]
  if not list then
    list = {}
    lists[name] = list
  end
  return list
end

-- `field` and `text` are one more field of the job, which changes with its record.
local function put_later(uid, n, job, field, text)
  local fields = list_of(changed, uid)
  fields[#fields + 1], fields[#fields + 2] = n, cmsgpack.pack(job)
  if field then
    fields[#fields + 1], fields[#fields + 2] = field .. n, text
  end
end

local function leave_later(queue, member)
  local members = list_of(leaving, queue)
  members[#members + 1] = member
end

local function enter_later(queue, score, member)
  local members = list_of(entering, queue)
  members[#members + 1], members[#members + 2] = score, member
end

local function write_changes()
  for uid, fields in pairs(changed) do
    call('HSET', P .. 'j:' .. uid, unpack(fields))
  end
  for queue, members in pairs(leaving) do
    call('ZREM', P .. queue, unpack(members))
  end
  for queue, members in pairs(entering) do
    call('ZADD', P .. queue, unpack(members))
  end
  changed, leaving, entering = {}, {}, {}
end

---
-- A job's name in the queues: sorts by study, then by number.
local function member_of(uid, n, kind)
  return string.format('%s %010d %s', uid, n, kind)
end

---
-- The number stays text, without its zeros, as the keys of hashes are: a number would have to be written out for each.
local function parse(member)
  return string.match(member, '^(%S+) 0*(%d+) (%a)$')
end

---
-- The queue of waiting jobs of a kind and tenant, with what they demand of workers, if anything.
local function queue_of(kind, tenant, demand)
  return 'q:' .. kind .. ':' .. tenant .. (demand and ':' .. demand or '')
end

---
-- The queue that a job's state puts it into, and its score there; nothing for one that is done or cancelled.
local function place_of(job)
  local state = job[STATE]
  if state == 'r' then
    if job[NOT_BEFORE] ~= 0 then
      return 'late', job[NOT_BEFORE]
    end
    return queue_of(job[KIND], job[TENANT], job[DEMAND]), job[RANK]
  elseif state == 'l' then
    return 'l:' .. job[KIND] .. ':' .. job[TENANT], job[EXPIRES]
  elseif state == 'D' then
    return 'dead', 0
  end
end

---
-- Notes that a tenant's queue of a kind, and of a demand, if any, has jobs. Coordinators are woken where it was not known.
-- That it has none any more is noted by the lease that finds none.
local function note_waiting(kind, tenant, demand)
  if call('SADD', P .. 'waiting', kind .. ' ' .. tenant .. (demand and ' ' .. demand or '')) == 1 then
    call('PUBLISH', P .. 'wake', kind)
  end
end

---
-- Kind, tenant and demand of what stands in `waiting`; no demand where any worker will do.
local function parse_waiting(text)
  local kind, tenant, demand = string.match(text, '^(%a) (%S+)(.*)$')
  return kind, tenant, demand ~= '' and string.sub(demand, 2) or nil
end

---
-- Puts a job into the queue that its state asks for.
local function enter(uid, n, job)
  local queue, score = place_of(job)
  if queue then
    call('ZADD', P .. queue, score, member_of(uid, n, job[KIND]))
    if job[STATE] == 'r' and job[NOT_BEFORE] == 0 then
      note_waiting(job[KIND], job[TENANT], job[DEMAND])
    end
  end
end

---
-- Takes a job out of the queue that its state put it into.
local function leave(uid, n, job)
  local queue = place_of(job)
  if queue then
    call('ZREM', P .. queue, member_of(uid, n, job[KIND]))
  end
end

---
-- Why the holder of a token may not touch a job; nil where it may.
local function refusal(job, token)
  if not job then
    return 'lost'
  end
  if job[TOKEN] == token then
    if job[STATE] == 'l' then
      return nil
    end
    if job[STATE] == 'c' then
      return 'cancelled'
    end
  end
  return 'lost'
end

---
local function settled(job, token)
  return job and job[SETTLED] == token and job[SETTLED_HOW]
end

---
local LEVEL = { routine = 0, urgent = 1, stat = 2 }

---
local OPEN = { receiving = true, complete = true, queued = true, reading = true }

---
-- The listing of studies in a state. Some share one: most studies pass from one state to the other soon.
local SHARED = { receiving = 'arriving', complete = 'arriving', queued = 'working', reading = 'working' }
local function listing_of(state)
  return 'ix:s:' .. (SHARED[state] or state)
end

---
-- Moves a study from one state to another, in its record and in the listings. `received` and `tenant` are the record's;
-- the fields that follow change with it.
local function set_state(uid, from, to, received, tenant, ...)
  call('HSET', P .. 's:' .. uid, 'state', to, ...)
  local old, new = listing_of(from), listing_of(to)
  if old ~= new then
    call('ZREM', P .. old, uid)
    call('ZADD', P .. new, '-' .. received, uid)
  end
  if OPEN[to] and not OPEN[from] then
    call('HINCRBY', P .. 'open', tenant, '1')
  elseif OPEN[from] and not OPEN[to] then
    call('HINCRBY', P .. 'open', tenant, '-1')
  end
end

---
-- Enqueues a study's merge job, whose number is `n`, when the changes are written.
local function enqueue_merge(uid, n, rank, priority, tenant, t)
  local spec = string.format(
    '{"id":"%s/%d","kind":"merge","images":[],"body_part":null,"priority":"%s"}', uid, n, priority)
  local job = { 'm', 'r', tonumber(rank), 0, 0, 0, 0, 0, '', 0, '', t, tenant, '' }
  put_later(uid, n, job, 's', spec)
  enter_later('q:m:' .. tenant, job[RANK], member_of(uid, n, 'm'))
  note_waiting('m', tenant)
end

---
-- The figures of a study's cost; the last two are the time in the queue and the time to merge.
local function costs(packed)
  return packed and cmsgpack.unpack(packed) or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
end

---
-- So many more read jobs of the study are done or dead; the last one enqueues the merge, when the changes are written.
-- What they cost is added.
local function count_finished(uid, jobs, wall, t, cost)
  local study = P .. 's:' .. uid
  local held = call('HMGET', study, 'finished', 'total', 'cost', 'next', 'rank', 'priority', 'tenant')
  local changes = { 'finished', held[1] + jobs, 'updated', wall }
  if changes[2] == tonumber(held[2]) then
    local n = held[4]
    enqueue_merge(uid, n, held[5], held[6], held[7], t)
    changes[5], changes[6], changes[7], changes[8] = 'next', n + 1, 'merge', n
  end
  if cost then
    local sum = costs(held[3])
    for place, figure in ipairs(cost) do
      sum[place] = sum[place] + figure
    end
    changes[#changes + 1], changes[#changes + 2] = 'cost', cmsgpack.pack(sum)
  end
  call('HSET', study, unpack(changes))
end

---
-- Forgets a question, of which nothing is counted.
local function forget_job(uid, n, job)
  leave(uid, n, job)
  call('HDEL', P .. 'j:' .. uid, n, 's' .. n, 'f' .. n)
end

---
local MAX_FAILURES_KEPT = 8

-- Ends a leased job's attempt with a failure, whoever says so. The verdict is 'dead' or a delay in ms.
local function note_failure(uid, n, job, reason, verdict, wall, t)
  if verdict == 'dead' and job[KIND] == 'a' then
    -- Nobody but who asked could ask again: it is no dead letter.
    forget_job(uid, n, job)
    return
  end
  local failures = call('HGET', P .. 'j:' .. uid, 'f' .. n)
  failures = failures and cmsgpack.unpack(failures) or {}
  failures[#failures + 1] = { job[ATTEMPTS], job[WORKER], reason, wall }
  while #failures > MAX_FAILURES_KEPT do
    table.remove(failures, 1)
  end
  leave(uid, n, job)
  job[EXPIRES], job[UPDATED] = 0, t
  if verdict == 'dead' then
    job[STATE] = 'D'
  else
    local delay = tonumber(verdict)
    job[STATE], job[NOT_BEFORE] = 'r', delay == 0 and 0 or t + delay
  end
  put_later(uid, n, job, 'f', cmsgpack.pack(failures))
  enter(uid, n, job)
  if verdict == 'dead' and is_read(job[KIND]) then
    count_finished(uid, 1, wall, t)
  end
  write_changes()
  if verdict ~= 'dead' or job[KIND] ~= 'm' then
    return
  end
  local held = call('HMGET', P .. 's:' .. uid, 'state', 'received', 'tenant')
  local why = 'the findings could not be merged: ' .. reason
  set_state(uid, held[1], 'failed', held[2], held[3], 'reason', why, 'updated', wall)
end

---
-- Every job of a study, by number.
local function all_jobs(uid)
  local held = call('HGETALL', P .. 'j:' .. uid)
  local jobs = {}
  for place = 1, #held, 2 do
    local n = tonumber(held[place])
    if n then
      jobs[n] = cmsgpack.unpack(held[place + 1])
    end
  end
  return jobs
end

---
-- Opens a study again: its jobs are forgotten, its drafts are kept.
local function reopen(uid, from, to, received, tenant, wall, t)
  for n, job in pairs(all_jobs(uid)) do
    leave(uid, n, job)
  end
  call('DEL', P .. 'j:' .. uid)
  local study = P .. 's:' .. uid
  call('HINCRBY', study, 'generation', 1)
  call('HDEL', study, 'reason', 'merge', 'unread', 'notes', 'completion', 'route')
  set_state(uid, from, to, received, tenant, 'total', 0, 'finished', 0, 'opened', t, 'updated', wall)
end

---
-- A delivery's record is a packed list; these are its places.
local SENT_STATE, SENT_ATTEMPTS, SENT_TOKEN, SENT_DUE, SENT_ANSWER = 1, 2, 3, 4, 5
local SENT_INSTANCE, SENT_TRANSACTION, SENT_CREATED, SENT_UPDATED = 6, 7, 8, 9

---
local function get_delivery(uid, field)
  local packed = call('HGET', P .. 'dl:' .. uid, field)
  return packed and cmsgpack.unpack(packed)
end

---
-- Stores a delivery, whose field is version, destination and object, and has it stand among those that are due while it
-- is open. What is due sorts by study, version and object.
local function put_delivery(uid, field, record)
  call('HSET', P .. 'dl:' .. uid, field, cmsgpack.pack(record))
  local version, destination, object = string.match(field, '^(%d+) (%S+) (%S+)$')
  local member = string.format('%s %010d %s', uid, version, object)
  local state = record[SENT_STATE]
  if state == 'waiting' or state == 'sending' or state == 'committing' then
    call('ZADD', P .. 'due:' .. destination, record[SENT_DUE], member)
  else
    call('ZREM', P .. 'due:' .. destination, member)
  end
end

---
-- Notes where a version of a draft is to go: destinations and objects stand in ARGV from `from` on. Whether something
-- is new.
local function note_wishes(uid, version, from, again, wall, t)
  local is_new = false
  for place = from, #ARGV, 2 do
    local field = version .. ' ' .. ARGV[place] .. ' ' .. ARGV[place + 1]
    local record = get_delivery(uid, field)
    local is_known = record
    if not record then
      record = { 'waiting', 0, 0, t, '', '', '', wall, wall }
    elseif again and record[SENT_STATE] ~= 'sending' then
      record[SENT_STATE], record[SENT_ATTEMPTS], record[SENT_DUE], record[SENT_TRANSACTION] = 'waiting', 0, t, ''
      record[SENT_UPDATED] = wall
      is_known = false
    end
    if not is_known then
      put_delivery(uid, field, record)
      is_new = true
    end
  end
  return is_new
end

---
local MAX_REPORTS = 10000

-- Notes reports of workitems, which stand in ARGV from `from` on, and has coordinators look.
local function tell_worklist(from)
  for place = from, #ARGV do
    local number = call('INCR', P .. 'wnumber')
    call('XADD', P .. 'wreports', 'MAXLEN', '=', MAX_REPORTS, number .. '-0', 'report', ARGV[place])
  end
  if ARGV[from] then
    call('PUBLISH', P .. 'wake', 'worklist')
  end
end
