-- Leases jobs, one for each of several requests, as far as there are any. ARGV: time, how far behind the head of the queue
-- studies at hand may be in ms, whether this call was made before (1), then, for each request, worker, request, lease time
-- in ms, kinds, tenants ('*' for all), studies at hand, shares, whether the request was made before (1). Shares are weight
-- and cap (-1 for none) of a tenant that is not named, then name, weight and cap of those that are.
-- Answers a list for each request, which is empty where there is nothing for it.
local locality, again = tonumber(ARGV[2]), ARGV[3] == '1'
local FIRST, EACH = 4, 8
local wall, t = clocks()

local function given(uid, n, job)
  return { call('HGET', P .. 'sp:' .. uid, n), job[TOKEN], job[ATTEMPTS], job[WAITED] }
end

-- A request that is made again gets the lease that it got, while it is held. That is rare, and may take a while.
local seen = {}
local function given_before(worker, request, ttl)
  for _, tenant in ipairs(call('HKEYS', P .. 'open')) do
    for kind in string.gmatch('xcm', '%a') do
      for _, member in ipairs(call('ZRANGE', P .. 'l:' .. kind .. ':' .. tenant, 0, -1)) do
        local uid, n = parse(member)
        local job = get_job(uid, n)
        local is_it = job and job[WORKER] == worker and job[REQUEST] == request and job[STATE] == 'l'
        if is_it and not seen[member] then
          seen[member] = true
          job[EXPIRES] = t + ttl
          put_job(uid, n, job)
          enter(uid, n, job)
          return given(uid, n, job)
        end
      end
    end
  end
end

-- Jobs whose time has come.
for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'late', '-inf', t)) do
  local uid, n = parse(member)
  local job = get_job(uid, n)
  leave(uid, n, job)
  job[NOT_BEFORE] = 0
  put_job(uid, n, job)
  enter(uid, n, job)
end

-- The shares of the tenants; requests that come together mostly have the same.
local shares, weights, caps, default_weight, default_cap
local function read_shares(text)
  if text == shares then
    return
  end
  local words = string.gmatch(text, '%S+')
  shares, weights, caps = text, {}, {}
  default_weight, default_cap = tonumber(words()), tonumber(words())
  for tenant in words do
    weights[tenant], caps[tenant] = tonumber(words()), tonumber(words())
  end
end

local function weight_of(tenant)
  return math.max(weights[tenant] or default_weight, 1)
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
  local weight_a, weight_b = weight_of(a.tenant), weight_of(b.tenant)
  if a.running * weight_b ~= b.running * weight_a then
    return a.running * weight_b < b.running * weight_a
  end
  if a.rank ~= b.rank then
    return a.rank < b.rank
  end
  return a.member < b.member
end

-- The tenant whose turn it is, with the first job of each kind that it has. Where there is one tenant without a cap,
-- nobody need be counted.
local queues = call('SMEMBERS', P .. 'waiting')
local function turn_of(kinds, allowed)
  local heads, tenants = {}, 0
  for place, waiting in pairs(queues) do
    local kind, tenant = string.sub(waiting, 1, 1), string.sub(waiting, 3)
    if string.find(kinds, kind, 1, true) and (not allowed or allowed[tenant]) then
      local first = call('ZRANGE', P .. 'q:' .. kind .. ':' .. tenant, '0', '0', 'WITHSCORES')
      if not first[1] then
        call('SREM', P .. 'waiting', waiting)
        queues[place] = nil
      else
        local head = heads[tenant]
        if not head then
          head = { tenant = tenant, firsts = {} }
          heads[tenant], tenants = head, tenants + 1
        end
        head.firsts[kind] = { tonumber(first[2]), first[1] }
      end
    end
  end
  local turn
  for tenant, head in pairs(heads) do
    local cap = caps[tenant] or default_cap
    if tenants > 1 or cap >= 0 then
      head.running = call('ZCARD', P .. 'l:x:' .. tenant) + call('ZCARD', P .. 'l:c:' .. tenant)
    end
    for kind, first in pairs(head.firsts) do
      if kind ~= 'm' and cap >= 0 and head.running >= cap then
        head.firsts[kind] = nil
      elseif not head.rank or first[1] < head.rank or (first[1] == head.rank and first[2] < head.member) then
        head.rank, head.member = first[1], first[2]
      end
    end
    if head.rank and (not turn or before(head, turn)) then
      turn = head
    end
  end
  return turn
end

-- The first job of a study at hand, where it is as urgent as the first of all and not far behind.
local function at_hand(turn, studies)
  local best, best_rank
  for held in string.gmatch(studies, '%S+') do
    local study = call('HMGET', P .. 's:' .. held, 'tenant', 'rank')
    local rank = tonumber(study[2])
    if study[1] == turn.tenant and rank - turn.rank <= locality and urgency(rank) == urgency(turn.rank) then
      for kind in pairs(turn.firsts) do
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
  return best
end

-- Tokens grow. As many are taken as there are requests left: some are never given.
local next_token
local function token(wanted)
  next_token = next_token or call('INCRBY', P .. 'token', wanted) - wanted + 1
  next_token = next_token + 1
  return next_token - 1
end

-- Studies of which one job was leased already.
local is_read = {}

local function lease(place)
  local worker, request, ttl, tenants = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2]), ARGV[place + 4]
  local answer = (again or ARGV[place + 7] == '1') and given_before(worker, request, ttl)
  if answer then
    return answer
  end
  local allowed
  if tenants ~= '*' then
    allowed = {}
    for tenant in string.gmatch(tenants, '%S+') do
      allowed[tenant] = true
    end
  end
  read_shares(ARGV[place + 6])
  local turn = turn_of(ARGV[place + 3], allowed)
  if not turn then
    return {}
  end
  local member = ARGV[place + 5] ~= '' and at_hand(turn, ARGV[place + 5]) or turn.member
  local uid, n, kind = parse(member)
  local job = get_job(uid, n)
  call('ZREM', P .. 'q:' .. kind .. ':' .. turn.tenant, member)
  job[STATE] = 'l'
  job[WAITED] = job[WAITED] + math.max(t - job[UPDATED], 0)
  job[ATTEMPTS] = job[ATTEMPTS] + 1
  job[TOKEN] = token((#ARGV + 1 - place) / EACH)
  job[EXPIRES], job[WORKER], job[REQUEST], job[UPDATED] = t + ttl, worker, request, t
  put_job(uid, n, job)
  call('ZADD', P .. 'l:' .. kind .. ':' .. turn.tenant, job[EXPIRES], member)
  if kind ~= 'm' and not is_read[uid] then
    is_read[uid] = true
    if call('HGET', P .. 's:' .. uid, 'state') == 'queued' then
      -- The two states share a listing.
      call('HSET', P .. 's:' .. uid, 'state', 'reading', 'updated', wall)
    end
  end
  return given(uid, n, job)
end

local answers = {}
for place = FIRST, #ARGV, EACH do
  answers[#answers + 1] = lease(place)
end
return answers
