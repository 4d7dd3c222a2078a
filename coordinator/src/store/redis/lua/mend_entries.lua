-- Removes entries of one queue that no job accounts for; how many. ARGV: time, the queue's name, members.
local name = ARGV[2]
local key = P .. name
local stray = 0
for place = 3, #ARGV do
  local member = ARGV[place]
  local uid, n, kind = parse(member)
  local job = uid and get_job(uid, n)
  local wanted, score
  if job and job[KIND] == kind then
    if job[STATE] == 'r' and job[NOT_BEFORE] ~= 0 then
      wanted, score = 'late:' .. kind, job[NOT_BEFORE]
    elseif job[STATE] == 'r' then
      wanted, score = 'q:' .. kind .. ':' .. job[TENANT], job[RANK]
    elseif job[STATE] == 'l' then
      wanted, score = 'leases', job[EXPIRES]
    elseif job[STATE] == 'D' then
      wanted, score = 'dead', 0
    end
  end
  local held = call('ZSCORE', key, member)
  if held and (wanted ~= name or tonumber(held) ~= score) then
    call('ZREM', key, member)
    stray = stray + 1
  end
end
return stray
