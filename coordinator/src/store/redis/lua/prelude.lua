-- What every operation stands on. KEYS[1] is the prefix of all keys, with the hash tag that keeps them in one slot of a
-- cluster; ARGV[1] is the time in ms for tests, empty otherwise. The layout of the keys is in ../mod.rs.

local P = KEYS[1]
local call = redis.call

-- Longest step of the server's clock that is taken for time gone by, in ms. Coordinators look after the queue twice a
-- second: a longer gap means that the clock was set, or that nobody was there to renew a lease. Neither ends one.
local MAX_STEP_MS = 5000
-- Steps shorter than this are not written down, in ms.
local MIN_STEP_MS = 100
local HOUR_MS = 3600000

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

-- A job's record is a packed list; these are its places. State: r(eady) l(eased) d(one) D(ead) c(ancelled). How a lease
-- was settled: C(ompleted) R(etried) B(uried) L(et go).
local KIND, STATE, RANK, NOT_BEFORE, WAITED, ATTEMPTS, TOKEN = 1, 2, 3, 4, 5, 6, 7
local EXPIRES, WORKER, SETTLED, SETTLED_HOW, UPDATED, TENANT, REQUEST = 8, 9, 10, 11, 12, 13, 14

local function get_job(uid, n)
  local packed = call('HGET', P .. 'j:' .. uid, n)
  return packed and cmsgpack.unpack(packed)
end

-- A job's name in the queues: sorts by study, then by number.
local function member_of(uid, n, kind)
  return string.format('%s %010d %s', uid, n, kind)
end

local function parse(member)
  local uid, n, kind = string.match(member, '^(%S+) (%d+) (%a)$')
  return uid, tonumber(n), kind
end

-- Puts a job into the queue that its state asks for. Coordinators are woken where that queue was empty.
local function enter(uid, n, job)
  local state, kind = job[STATE], job[KIND]
  if state == 'r' then
    if job[NOT_BEFORE] ~= 0 then
      call('ZADD', P .. 'late:' .. kind, job[NOT_BEFORE], member_of(uid, n, kind))
    else
      call('ZADD', P .. 'q:' .. kind .. ':' .. job[TENANT], job[RANK], member_of(uid, n, kind))
      if call('SADD', P .. 'waiting:' .. kind, job[TENANT]) == 1 then
        call('PUBLISH', P .. 'wake', kind)
      end
    end
  elseif state == 'l' then
    call('ZADD', P .. 'leases', job[EXPIRES], member_of(uid, n, kind))
    call('HINCRBY', P .. 'leased', kind .. ' ' .. job[TENANT], 1)
  elseif state == 'D' then
    call('ZADD', P .. 'dead', 0, member_of(uid, n, kind))
  end
end

-- Takes a job out of the queue that its state put it into.
local function leave(uid, n, job)
  local state, kind = job[STATE], job[KIND]
  if state == 'r' then
    if job[NOT_BEFORE] ~= 0 then
      call('ZREM', P .. 'late:' .. kind, member_of(uid, n, kind))
    else
      local queue = P .. 'q:' .. kind .. ':' .. job[TENANT]
      call('ZREM', queue, member_of(uid, n, kind))
      if call('EXISTS', queue) == 0 then
        call('SREM', P .. 'waiting:' .. kind, job[TENANT])
      end
    end
  elseif state == 'l' then
    call('ZREM', P .. 'leases', member_of(uid, n, kind))
    call('HINCRBY', P .. 'leased', kind .. ' ' .. job[TENANT], -1)
  elseif state == 'D' then
    call('ZREM', P .. 'dead', member_of(uid, n, kind))
  end
end

local function put_job(uid, n, job)
  call('HSET', P .. 'j:' .. uid, n, cmsgpack.pack(job))
end

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

local function settled(job, token)
  return job and job[SETTLED] == token and job[SETTLED_HOW]
end

local OPEN = { receiving = true, complete = true, queued = true, reading = true }

-- A study that is, or is not, open any more.
local function count_open(tenant, by)
  call('HINCRBY', P .. 'open', tenant, by)
  call('HINCRBY', P .. 'open', '*', by)
end

-- Moves a study from one state to another, in its record and in the listings.
local function set_state(uid, from, to, more)
  local study = P .. 's:' .. uid
  local held = call('HMGET', study, 'received', 'tenant')
  call('HSET', study, 'state', to, unpack(more))
  if from ~= to then
    call('ZREM', P .. 'ix:s:' .. from, uid)
    call('ZADD', P .. 'ix:s:' .. to, -held[1], uid)
  end
  local opened, closed = OPEN[to] and not OPEN[from], OPEN[from] and not OPEN[to]
  if opened or closed then
    count_open(held[2], opened and 1 or -1)
  end
end

-- Enqueues a study's merge job; its number and the number after it.
local function enqueue_merge(uid, t)
  local study = P .. 's:' .. uid
  local held = call('HMGET', study, 'next', 'rank', 'priority', 'tenant')
  local n = tonumber(held[1])
  local spec = string.format(
    '{"id":"%s/%d","kind":"merge","images":[],"body_part":null,"priority":"%s"}', uid, n, held[3])
  local job = { 'm', 'r', tonumber(held[2]), 0, 0, 0, 0, 0, '', 0, '', t, held[4], '' }
  call('HSET', P .. 'sp:' .. uid, n, spec)
  put_job(uid, n, job)
  enter(uid, n, job)
  call('HSET', study, 'next', n + 1, 'merge', n)
end

-- One more read job of the study is done or dead; the last one enqueues the merge.
local function count_finished(uid, wall, t)
  local study = P .. 's:' .. uid
  local finished = call('HINCRBY', study, 'finished', 1)
  call('HSET', study, 'updated', wall)
  if finished == tonumber(call('HGET', study, 'total')) then
    enqueue_merge(uid, t)
  end
end

local MAX_FAILURES_KEPT = 8

-- Ends a leased job's attempt with a failure, whoever says so. The verdict is 'dead' or a delay in ms.
local function note_failure(uid, n, job, reason, verdict, wall, t)
  local failures = call('HGET', P .. 'f:' .. uid, n)
  failures = failures and cmsgpack.unpack(failures) or {}
  failures[#failures + 1] = { job[ATTEMPTS], job[WORKER], reason, wall }
  while #failures > MAX_FAILURES_KEPT do
    table.remove(failures, 1)
  end
  call('HSET', P .. 'f:' .. uid, n, cmsgpack.pack(failures))
  leave(uid, n, job)
  job[EXPIRES], job[UPDATED] = 0, t
  if verdict == 'dead' then
    job[STATE] = 'D'
  else
    local delay = tonumber(verdict)
    job[STATE], job[NOT_BEFORE] = 'r', delay == 0 and 0 or t + delay
  end
  put_job(uid, n, job)
  enter(uid, n, job)
  if verdict ~= 'dead' then
    return
  end
  if job[KIND] ~= 'm' then
    return count_finished(uid, wall, t)
  end
  local state = call('HGET', P .. 's:' .. uid, 'state')
  local why = 'the findings could not be merged: ' .. reason
  set_state(uid, state, 'failed', { 'reason', why, 'updated', wall })
end

-- The fields of a study's cost, in order; the last two are the time in the queue and the time to merge.
local COSTS = 11

local function add_cost(uid, add)
  local study = P .. 's:' .. uid
  local packed = call('HGET', study, 'cost')
  local cost = packed and cmsgpack.unpack(packed) or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  for place = 1, COSTS do
    cost[place] = cost[place] + (add[place] or 0)
  end
  call('HSET', study, 'cost', cmsgpack.pack(cost))
end

-- Every job of a study, by number.
local function all_jobs(uid)
  local held = call('HGETALL', P .. 'j:' .. uid)
  local jobs = {}
  for place = 1, #held, 2 do
    jobs[tonumber(held[place])] = cmsgpack.unpack(held[place + 1])
  end
  return jobs
end

-- Opens a study again: its jobs are forgotten, its drafts are kept.
local function reopen(uid, from, to, wall)
  for n, job in pairs(all_jobs(uid)) do
    leave(uid, n, job)
  end
  call('DEL', P .. 'j:' .. uid, P .. 'sp:' .. uid, P .. 'o:' .. uid, P .. 'f:' .. uid)
  local study = P .. 's:' .. uid
  call('HINCRBY', study, 'generation', 1)
  call('HDEL', study, 'reason', 'merge', 'unread', 'notes')
  set_state(uid, from, to, { 'total', 0, 'finished', 0, 'updated', wall })
end
