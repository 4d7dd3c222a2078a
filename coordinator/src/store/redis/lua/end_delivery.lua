-- Ends an attempt at a delivery. ARGV: time, study, field, token, state, due in ms from now, answer, instance,
-- transaction.
local uid, field, token, state = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local record = get_delivery(uid, field)
if not record or record[SENT_TOKEN] ~= token or token == 0 then
  return { 'lost' }
end
if record[SENT_STATE] == state and record[SENT_ANSWER] == ARGV[7] then
  return { 'before' }
end
if record[SENT_STATE] ~= 'sending' and record[SENT_STATE] ~= 'committing' then
  return { 'lost' }
end
local wall, t = clocks()
local is_open = state == 'waiting' or state == 'sending' or state == 'committing'
record[SENT_STATE], record[SENT_DUE] = state, is_open and t + tonumber(ARGV[6]) or 0
record[SENT_ANSWER], record[SENT_INSTANCE], record[SENT_TRANSACTION] = ARGV[7], ARGV[8], ARGV[9]
record[SENT_UPDATED] = wall
put_delivery(uid, field, record)
return { 'now' }
