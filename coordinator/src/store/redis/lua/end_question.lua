-- Ends a question. ARGV: time, study, number, token ('' where it is taken from whoever has it).
local uid, n = ARGV[2], ARGV[3]
local job = get_job(uid, n)
if not job then
  return { 'before' }
end
if ARGV[4] ~= '' and (job[STATE] ~= 'l' or job[TOKEN] ~= tonumber(ARGV[4])) then
  return { 'lost' }
end
forget_job(uid, n, job)
return { 'now' }
