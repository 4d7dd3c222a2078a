-- Leases jobs, one for each of several requests, as far as there are any. ARGV: time, how far behind the head of the queue
-- studies at hand may be in ms, whether this call was made before (1), then, for each request, worker, request, lease time
-- in ms, kinds, tenants ('*' for all), studies at hand, shares, whether the request was made before (1). Shares are weight
-- and cap (-1 for none) of a tenant that is not named, then name, weight and cap of those that are.
-- Answers a list for each request, which is empty where there is nothing for it.
local locality, again = tonumber(ARGV[2]), ARGV[3] == '1'
local FIRST, EACH = 4, 8
local wall, t = clocks()

local function given(uid, n, job, waited)
  return { call('HGET', P .. 'sp:' .. uid, n), job[TOKEN], job[ATTEMPTS], job[WAITED], waited }
end

-- A request that is made again gets the lease that it got, while it is held. That is rare, and may take a while.
local seen = {}
local function given_before(worker, request, ttl)
  write_changes()
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
          return given(uid, n, job, 0)
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
  job[UPDATED], job[NOT_BEFORE] = job[NOT_BEFORE], 0
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

-- The first jobs of a queue, read once for all requests: members and ranks in their order, and the places of each study.
-- A job that is taken leaves false.
local windows = {}
local LENGTH = (#ARGV + 1 - FIRST) / EACH + 7
local function window_of(kind, tenant)
  local queue = 'q:' .. kind .. ':' .. tenant
  local window = windows[queue]
  if window and (window.members[window.first] or window.is_all) then
    return window
  end
  -- The queue still has what was taken from the window before.
  write_changes()
  local page = call('ZRANGE', P .. queue, '0', LENGTH - 1, 'WITHSCORES')
  window = { queue = queue, kind = kind, members = {}, ranks = {}, places = {}, first = 1, is_all = #page < 2 * LENGTH }
  for place = 1, #page / 2 do
    local member = page[2 * place - 1]
    window.members[place], window.ranks[place] = member, tonumber(page[2 * place])
    local places = list_of(window.places, string.match(member, '^%S+'))
    places[#places + 1] = place
  end
  windows[queue] = window
  return window
end

local taken = {}
local function take(window, place, member)
  taken[member] = true
  leave_later(window.queue, member)
  if place then
    window.members[place] = false
    while window.members[window.first] == false do
      window.first = window.first + 1
    end
  end
end

-- Jobs that each tenant has running, merges aside.
local running = {}
local function running_of(tenant)
  if not running[tenant] then
    -- What this script leased is counted as it is given.
    write_changes()
    running[tenant] = call('ZCARD', P .. 'l:x:' .. tenant) + call('ZCARD', P .. 'l:c:' .. tenant)
  end
  return running[tenant]
end

-- The tenant whose turn it is, with the windows on its jobs and the first of them. Where there is one tenant without a
-- cap, nobody need be counted.
local queues = call('SMEMBERS', P .. 'waiting')
local function turn_of(kinds, allowed)
  local heads, tenants = {}, 0
  for place, waiting in pairs(queues) do
    local kind, tenant = string.sub(waiting, 1, 1), string.sub(waiting, 3)
    if string.find(kinds, kind, 1, true) and (not allowed or allowed[tenant]) then
      local window = window_of(kind, tenant)
      if not window.members[window.first] then
        call('SREM', P .. 'waiting', waiting)
        queues[place] = nil
      else
        local head = heads[tenant]
        if not head then
          head = { tenant = tenant, windows = {} }
          heads[tenant], tenants = head, tenants + 1
        end
        head.windows[#head.windows + 1] = window
      end
    end
  end
  local turn
  for tenant, head in pairs(heads) do
    local cap = caps[tenant] or default_cap
    if tenants > 1 or cap >= 0 then
      head.running = running_of(tenant)
    end
    for _, window in ipairs(head.windows) do
      local place = window.first
      local member, rank = window.members[place], window.ranks[place]
      local is_capped = window.kind ~= 'm' and cap >= 0 and head.running >= cap
      window.is_open = not is_capped
      if not is_capped and (not head.rank or rank < head.rank or (rank == head.rank and member < head.member)) then
        head.rank, head.member, head.window, head.place = rank, member, window, place
      end
    end
    if head.rank and (not turn or before(head, turn)) then
      turn = head
    end
  end
  return turn
end

-- The first job of a study at hand, where it is as urgent as the first of all and not far behind: window, place, member.
-- The place is nil where it lies behind the window.
local ranks_of = {}
local function at_hand(turn, studies)
  local best, best_rank, best_window, best_place
  local function consider(window, place, member, rank)
    local is_near = rank - turn.rank <= locality and urgency(rank) == urgency(turn.rank)
    if is_near and (not best or rank < best_rank or (rank == best_rank and member < best)) then
      best, best_rank, best_window, best_place = member, rank, window, place
    end
  end
  for held in string.gmatch(studies, '%S+') do
    for _, window in ipairs(turn.windows) do
      for _, place in ipairs(window.is_open and window.places[held] or {}) do
        local member = window.members[place]
        if member then
          consider(window, place, member, window.ranks[place])
          break
        end
      end
    end
  end
  if best then
    return best_window, best_place, best
  end
  for _, window in ipairs(turn.windows) do
    for held in string.gmatch(window.is_open and not window.is_all and studies or '', '%S+') do
      if not ranks_of[held] then
        local study = call('HMGET', P .. 's:' .. held, 'tenant', 'rank')
        -- All jobs of a study have its rank.
        ranks_of[held] = study[1] == turn.tenant and tonumber(study[2]) or -1
      end
      local rank = ranks_of[held]
      if rank >= window.ranks[#window.ranks] and rank - turn.rank <= locality then
        for _, member in ipairs(call('ZRANGEBYSCORE', P .. window.queue, rank, rank)) do
          if not taken[member] and string.sub(member, 1, #held + 1) == held .. ' ' then
            consider(window, nil, member, rank)
          end
        end
      end
    end
  end
  return best_window, best_place, best
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
  local window, where, member
  if ARGV[place + 5] ~= '' then
    window, where, member = at_hand(turn, ARGV[place + 5])
  end
  if not member then
    window, where, member = turn.window, turn.place, turn.member
  end
  take(window, where, member)
  local uid, n, kind = parse(member)
  local job = get_job(uid, n)
  job[STATE] = 'l'
  local waited = math.max(t - job[UPDATED], 0)
  job[WAITED] = job[WAITED] + waited
  job[ATTEMPTS] = job[ATTEMPTS] + 1
  job[TOKEN] = token((#ARGV + 1 - place) / EACH)
  job[EXPIRES], job[WORKER], job[REQUEST], job[UPDATED] = t + ttl, worker, request, t
  put_later(uid, n, job)
  enter_later('l:' .. kind .. ':' .. turn.tenant, job[EXPIRES], member)
  if kind ~= 'm' then
    running[turn.tenant] = running[turn.tenant] and running[turn.tenant] + 1
    if not is_read[uid] then
      is_read[uid] = true
      if call('HGET', P .. 's:' .. uid, 'state') == 'queued' then
        -- The two states share a listing.
        call('HSET', P .. 's:' .. uid, 'state', 'reading', 'updated', wall)
      end
    end
  end
  return given(uid, n, job, waited)
end

local answers = {}
for place = FIRST, #ARGV, EACH do
  answers[#answers + 1] = lease(place)
end
write_changes()
return answers
