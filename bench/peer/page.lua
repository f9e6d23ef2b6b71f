-- The same page as bench/page, as one would write it for nginx + Lua: both services asked at once with
-- capture_multi, lua-cjson, a template compiled to concatenation, and escaping that costs nothing
-- where there is nothing to escape.
local cjson = require "cjson"
local decode = cjson.decode
local find, gsub, concat = string.find, string.gsub, table.concat
local capture_multi = ngx.location.capture_multi

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
local function e(s)
    if type(s) ~= "string" then return s end
    if find(s, "[&<>\"']") then return (gsub(s, "[&<>\"']", entities)) end
    return s
end

local calls = { { "/up/promo" }, { "/up/recco" } }

local _M = {}

function _M.serve()
    local a, b = capture_multi(calls)
    if a.status ~= 200 or b.status ~= 200 then return ngx.exit(502) end
    local promo, recco = decode(a.body), decode(b.body)
    local t, n = {}, 6
    t[1] = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Home</title><link rel="stylesheet" href="/assets/site.css"></head><body><header><h1>'
    t[2] = e(promo.banner.title)
    t[3] = '</h1><a href="'
    t[4] = e(promo.banner.link)
    t[5] = '"><img src="'
    t[6] = e(promo.banner.image)
    t[7] = '" alt=""></a></header><main><section class="promo"><h2>Today</h2><ul>'
    n = 7
    local items = promo.items
    for i = 1, #items do
        local item = items[i]
        t[n + 1] = '<li class="card"><a href="/p/'
        t[n + 2] = e(item.id)
        t[n + 3] = '"><span class="name">'
        t[n + 4] = e(item.name)
        t[n + 5] = '</span></a> <b class="price">'
        t[n + 6] = e(item.price)
        t[n + 7] = '</b></li>'
        n = n + 7
    end
    t[n + 1] = '</ul></section><section class="recommendations"><h2>For you</h2><ul>'
    n = n + 1
    items = recco.items
    for i = 1, #items do
        local item = items[i]
        t[n + 1] = '<li class="card"><a href="'
        t[n + 2] = e(item.url)
        t[n + 3] = '"><img src="'
        t[n + 4] = e(item.image)
        t[n + 5] = '" alt="" loading="lazy"><span class="title">'
        t[n + 6] = e(item.title)
        t[n + 7] = '</span></a></li>'
        n = n + 7
    end
    t[n + 1] = '</ul></section></main><footer>served by gateway</footer></body></html>\n'
    local page = concat(t)
    ngx.header["Content-Type"] = "text/html; charset=utf-8"
    ngx.header["Content-Length"] = #page
    ngx.print(page)
end

return _M
