#include "http/tls_tickets.h"

#include "crypto/crypto.h"

static struct ticket_key make_key(uint64_t now_s)
{
    struct ticket_key key = {.made_s = now_s};
    random_bytes(key.name, sizeof(key.name));
    random_bytes(key.cipher, sizeof(key.cipher));
    random_bytes(key.mac, sizeof(key.mac));
    return key;
}

static void rotate(struct ticket_keys *keys, uint64_t now_s)
{
    if (now_s - keys->keys[0].made_s < keys->lifetime_s)
        return;
    explicit_bzero(&keys->keys[1], sizeof(keys->keys[1]));
    keys->keys[1] = keys->keys[0];
    keys->keys[0] = make_key(now_s);
}

void ticket_keys_init(struct ticket_keys *keys, uint64_t lifetime_s, uint64_t now_s)
{
    pthread_mutex_init(&keys->lock, NULL);
    keys->lifetime_s = lifetime_s;
    keys->keys[0] = make_key(now_s);
    keys->keys[1] = keys->keys[0];
}

void ticket_keys_fini(struct ticket_keys *keys)
{
    pthread_mutex_destroy(&keys->lock);
    explicit_bzero(keys->keys, sizeof(keys->keys));
}

void ticket_keys_follow(struct ticket_keys *keys, struct ticket_keys *before)
{
    pthread_mutex_lock(&before->lock);
    memcpy(keys->keys, before->keys, sizeof(keys->keys));
    pthread_mutex_unlock(&before->lock);
}

struct ticket_key ticket_keys_current(struct ticket_keys *keys, uint64_t now_s)
{
    pthread_mutex_lock(&keys->lock);
    rotate(keys, now_s);
    struct ticket_key key = keys->keys[0];
    pthread_mutex_unlock(&keys->lock);
    return key;
}

bool ticket_keys_find(struct ticket_keys *keys, const uint8_t name[16], uint64_t now_s,
                      struct ticket_key *key_r, bool *current_r)
{
    bool found = false;
    pthread_mutex_lock(&keys->lock);
    rotate(keys, now_s);
    for (size_t i = 0; i < COUNT(keys->keys) && !found; i++) {
        const struct ticket_key *key = &keys->keys[i];
        found = memcmp(key->name, name, sizeof(key->name)) == 0 &&
                now_s - key->made_s < 2 * keys->lifetime_s;
        if (found) {
            *key_r = *key;
            *current_r = i == 0;
        }
    }
    pthread_mutex_unlock(&keys->lock);
    return found;
}
