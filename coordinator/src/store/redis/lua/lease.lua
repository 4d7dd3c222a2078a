-- Leases a job. ARGV: time, worker, request, lease time in ms, kinds, tenants ('*' for all), studies at hand, how far
-- behind the head of the queue those may be in ms, then weight and cap (-1 for none) of a tenant that is not named, then
-- name, weight and cap of those that are.
local worker, request, ttl, kinds = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local wall, t = clocks()

local function given(uid, n, job)
  return { 'ok', call('HGET', P .. 'sp:' .. uid, n), job[TOKEN], job[ATTEMPTS] }
end

-- The same request again gets the same lease, while it is held.
if request ~= '' then
  local newest = call('HGET', P .. 'asked', worker)
  if newest then
    local uid, n = parse(newest)
    local job = get_job(uid, n)
    if job and job[STATE] == 'l' and job[WORKER] == worker and job[REQUEST] == request then
      job[EXPIRES] = t + ttl
      put_job(uid, n, job)
      call('ZADD', P .. 'leases', job[EXPIRES], newest)
      return given(uid, n, job)
    end
  end
end

-- Jobs whose time has come.
for kind in string.gmatch(kinds, '%a') do
  for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'late:' .. kind, '-inf', t)) do
    local uid, n = parse(member)
    local job = get_job(uid, n)
    leave(uid, n, job)
    job[NOT_BEFORE] = 0
    put_job(uid, n, job)
    enter(uid, n, job)
  end
end

local weights, caps = {}, {}
for place = 11, #ARGV, 3 do
  weights[ARGV[place]], caps[ARGV[place]] = tonumber(ARGV[place + 1]), tonumber(ARGV[place + 2])
end
local allowed
if ARGV[6] ~= '*' then
  allowed = {}
  for tenant in string.gmatch(ARGV[6], '%S+') do
    allowed[tenant] = true
  end
end

-- The first job of each tenant that may have its turn.
local heads = {}
for kind in string.gmatch(kinds, '%a') do
  for _, tenant in ipairs(call('SMEMBERS', P .. 'waiting:' .. kind)) do
    if not allowed or allowed[tenant] then
      local head = heads[tenant]
      if not head then
        local counts = call('HMGET', P .. 'leased', 'x ' .. tenant, 'c ' .. tenant)
        head = { tenant = tenant, running = (counts[1] or 0) + (counts[2] or 0), kinds = {} }
        heads[tenant] = head
      end
      local cap = caps[tenant] or tonumber(ARGV[10])
      if kind == 'm' or cap < 0 or head.running < cap then
        local first = call('ZRANGE', P .. 'q:' .. kind .. ':' .. tenant, 0, 0, 'WITHSCORES')
        local rank = tonumber(first[2])
        head.kinds[#head.kinds + 1] = kind
        if not head.rank or rank < head.rank or (rank == head.rank and first[1] < head.member) then
          head.rank, head.member = rank, first[1]
        end
      end
    end
  end
end

local function urgency(rank)
  local waited = t - rank
  return waited >= 24 * HOUR_MS and 2 or waited >= HOUR_MS and 1 or 0
end

-- Whether a's turn comes before b's: the more urgent, then the smaller load for its weight, then who waited longest.
local function before(a, b)
  local urgent_a, urgent_b = urgency(a.rank), urgency(b.rank)
  if urgent_a ~= urgent_b then
    return urgent_a > urgent_b
  end
  local weight_a = math.max(weights[a.tenant] or tonumber(ARGV[9]), 1)
  local weight_b = math.max(weights[b.tenant] or tonumber(ARGV[9]), 1)
  if a.running * weight_b ~= b.running * weight_a then
    return a.running * weight_b < b.running * weight_a
  end
  if a.rank ~= b.rank then
    return a.rank < b.rank
  end
  return a.member < b.member
end

local turn
for _, head in pairs(heads) do
  if head.rank and (not turn or before(head, turn)) then
    turn = head
  end
end
if not turn then
  return { 'none' }
end

-- A study at hand goes first, where it is as urgent and not far behind.
local best, best_rank
for held in string.gmatch(ARGV[7], '%S+') do
  local study = call('HMGET', P .. 's:' .. held, 'tenant', 'rank')
  local rank = tonumber(study[2])
  if study[1] == turn.tenant and rank - turn.rank <= tonumber(ARGV[8]) and urgency(rank) == urgency(turn.rank) then
    for _, kind in ipairs(turn.kinds) do
      -- All jobs of a study have its rank.
      for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'q:' .. kind .. ':' .. turn.tenant, rank, rank)) do
        local is_of_study = string.sub(member, 1, #held + 1) == held .. ' '
        local is_sooner = not best or rank < best_rank or (rank == best_rank and member < best)
        if is_of_study and is_sooner then
          best, best_rank = member, rank
        end
      end
    end
  end
end

local member = best or turn.member
local uid, n, kind = parse(member)
local job = get_job(uid, n)
leave(uid, n, job)
job[STATE] = 'l'
job[WAITED] = job[WAITED] + math.max(t - job[UPDATED], 0)
job[ATTEMPTS] = job[ATTEMPTS] + 1
job[TOKEN] = call('INCR', P .. 'token')
job[EXPIRES], job[WORKER], job[REQUEST], job[UPDATED] = t + ttl, worker, request, t
put_job(uid, n, job)
enter(uid, n, job)
if request ~= '' then
  call('HSET', P .. 'asked', worker, member)
end
if kind ~= 'm' and call('HGET', P .. 's:' .. uid, 'state') == 'queued' then
  set_state(uid, 'queued', 'reading', { 'updated', wall })
end
return given(uid, n, job)
