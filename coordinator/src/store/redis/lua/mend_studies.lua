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
    local queue = place_of(job)
    if queue and not call('ZSCORE', P .. queue, member) then
      if state == 'l' then
        -- Nobody could renew it: let it run out at once.
        job[EXPIRES] = 0
        put_job(uid, n, job)
        lost_leases = lost_leases + 1
      else
        lost_jobs = lost_jobs + 1
      end
      enter(uid, n, job)
    elseif queue and (job[EXPIRES] > limit or job[NOT_BEFORE] > limit) then
      leave(uid, n, job)
      if state == 'l' then
        job[EXPIRES] = t
      else
        job[NOT_BEFORE] = t
      end
      put_job(uid, n, job)
      enter(uid, n, job)
      far_times = far_times + 1
    end
    if job[DEMAND] and state == 'r' and job[NOT_BEFORE] == 0 then
      -- Queues of demands are known by this alone.
      note_waiting(job[KIND], job[TENANT], job[DEMAND])
    end
    if is_read(job[KIND]) and (state == 'd' or state == 'D') then
      finished = finished + 1
    end
  end
  local study = P .. 's:' .. uid
  local held = call('HMGET', study, 'state', 'total', 'finished', 'merge', 'next', 'rank', 'priority', 'tenant')
  if held[1] == 'queued' or held[1] == 'reading' then
    if finished ~= tonumber(held[3]) then
      call('HSET', study, 'finished', finished)
    end
    if finished == tonumber(held[2]) and not held[4] then
      local n = tonumber(held[5])
      enqueue_merge(uid, n, held[6], held[7], held[8], t)
      write_changes()
      call('HSET', study, 'next', n + 1, 'merge', n)
      missing_merges = missing_merges + 1
    end
  end
end
return { lost_leases, lost_jobs, far_times, missing_merges }
