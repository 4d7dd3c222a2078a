-- Puts jobs of studies back into the queues that they are missing from, ends what lasts longer than anything may, and
-- enqueues merges that are missing. ARGV: time, longest lease in ms, studies.
-- Answers lost leases, lost jobs, times too far ahead and missing merges.
local _, t = clocks()
local limit = t + tonumber(ARGV[2])
local lost_leases, lost_jobs, far_times, missing_merges = 0, 0, 0, 0
for place = 3, #ARGV do
  local uid = ARGV[place]
  local finished = 0
  for n, job in pairs(all_jobs(uid)) do
    local state, member = job[STATE], member_of(uid, n, job[KIND])
    if state == 'l' then
      if not call('ZSCORE', P .. 'leases', member) then
        -- Nobody could renew it: let it run out at once.
        job[EXPIRES] = 0
        put_job(uid, n, job)
        call('ZADD', P .. 'leases', 0, member)
        lost_leases = lost_leases + 1
      elseif job[EXPIRES] > limit then
        job[EXPIRES] = t
        put_job(uid, n, job)
        call('ZADD', P .. 'leases', t, member)
        far_times = far_times + 1
      end
    elseif state == 'r' or state == 'D' then
      local key = state == 'D' and 'dead' or job[NOT_BEFORE] ~= 0 and 'late:' .. job[KIND]
        or 'q:' .. job[KIND] .. ':' .. job[TENANT]
      if not call('ZSCORE', P .. key, member) then
        enter(uid, n, job)
        lost_jobs = lost_jobs + 1
      elseif job[NOT_BEFORE] > limit then
        leave(uid, n, job)
        job[NOT_BEFORE] = t
        put_job(uid, n, job)
        enter(uid, n, job)
        far_times = far_times + 1
      end
    end
    if job[KIND] ~= 'm' and (state == 'd' or state == 'D') then
      finished = finished + 1
    end
  end
  local held = call('HMGET', P .. 's:' .. uid, 'state', 'total', 'finished', 'merge')
  if held[1] == 'queued' or held[1] == 'reading' then
    if finished ~= tonumber(held[3]) then
      call('HSET', P .. 's:' .. uid, 'finished', finished)
    end
    if finished == tonumber(held[2]) and not held[4] then
      enqueue_merge(uid, t)
      missing_merges = missing_merges + 1
    end
  end
end
return { lost_leases, lost_jobs, far_times, missing_merges }
