-- The jobs of a study, each with its number, record, failures, spec and outcome. ARGV: time, study.
local uid = ARGV[2]
local found = {}
local held = call('HGETALL', P .. 'j:' .. uid)
for place = 1, #held, 2 do
  local n = held[place]
  found[#found + 1] = {
    n, held[place + 1], call('HGET', P .. 'f:' .. uid, n) or '', call('HGET', P .. 'sp:' .. uid, n) or '',
    call('HGET', P .. 'o:' .. uid, n) or '',
  }
end
return found
