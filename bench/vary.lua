-- Requests of which no two are the same: {n} in the path becomes a number that counts up.
--   wrk ... URL -- FIRST [PAUSE]    PAUSE: most milliseconds that a connection waits before its next one

local before, after, number

function init(args)
    before, after = wrk.format("GET", wrk.path):match("^(.-){n}(.*)$")
    if before == nil then
        before, after = wrk.format("GET", wrk.path), nil
    end
    number = tonumber(args[1])
    local pause = tonumber(args[2] or 0)
    if pause > 0 then
        delay = function() return math.random(0, pause) end
    end
end

function request()
    if after == nil then
        return before
    end
    number = number + 1
    return before .. number .. after
end
