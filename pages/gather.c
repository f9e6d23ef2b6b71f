/* Parts whose data somebody else wants, for a certificate say: run like a page's, up to the point
 * where the page would be made of them. What failed is answered here as a page would, so that the
 * caller has one case to deal with. */
#include "pages/pages_internal.h"

struct gather {
    struct http_request *request;
    page_field_fn *field;
    page_gathered_fn *done;
    void *arg;
};

static struct str gather_variable(void *arg, const struct expand_variable *variable, size_t item)
{
    const struct gather *gather = arg;
    return variable->source == EXPAND_FIELD ? gather->field(gather->arg, variable->name)
                                            : run_variable(gather->request, variable, item);
}

static void gathered(struct page_run *run)
{
    const struct gather *gather = run->finish_arg;
    if (reply_problem(run))
        return;
    reply_add_outcome(run, run_is_complete(run), 0);
    gather->done(run->request, view_data(run), gather->arg);
}

void page_gather(struct page *parts, struct http_request *request, page_field_fn *field,
                 page_gathered_fn *done, void *arg)
{
    struct gather *gather = h2o_mem_alloc_pool(request->pool, sizeof(*gather));
    *gather = (struct gather){request, field, done, arg};
    run_start(parts, request, gather_variable, gather, gathered, gather);
}
