# gateway: `make help` lists what there is to do.
#
# Each folder is an archive in build/lib; archives link in the order of the floors, so a folder that
# reaches up does not link. SAN=address,undefined or SAN=thread builds into a folder of its own.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
CPUS      := $(shell nproc)
MAKEFLAGS += -j$(CPUS)
endif
ifneq ($(filter clean,$(MAKECMDGOALS)),)
.NOTPARALLEL: # `make clean all` is first one, then the other
endif

# What is done is told in a word each; V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo "  $(1)	$(2)")

SAN     ?=
comma   := ,
BUILD   := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
ifeq ($(origin CXX),default)
CXX      := g++
endif
WERROR   ?=
WARNINGS := -Wall -Wextra -Wshadow -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef \
            -Wconversion $(WERROR)
CWARN    := $(WARNINGS) -Wstrict-prototypes -Wmissing-prototypes
HARDEN   := -fPIE -fstack-protector-strong $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
OPTIMIZE := $(if $(SAN),-O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all,-O2)
DRAWING  := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags librsvg-2.0 cairo fontconfig freetype2 2>/dev/null))
CPPFLAGS += -I. -D_GNU_SOURCE -DH2O_USE_EPOLL=1 -MMD -MP
CFLAGS   ?= -g
CFLAGS   += -std=c11 $(OPTIMIZE) $(HARDEN) $(CWARN)
CXXFLAGS ?= -g
CXXFLAGS += -std=c++17 -DNDEBUG $(OPTIMIZE) $(HARDEN) $(WARNINGS)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   := -lh2o-evloop -lcurl -lsqlite3 -lmbedx509 -lmbedcrypto -lmagic \
            $(shell pkg-config --libs librsvg-2.0 cairo fontconfig 2>/dev/null) -lqpdf -lqrencode -lpcre2-8 -lfreetype -lm -lcrypt -lssl -lcrypto -lz -lpthread -lstdc++

# Top floor first: the order of linking, and of who may include whom.
FOLDERS := commands certificates files pages routes middleware cache http upstreams stores crypto observe render config base

sources  = $(wildcard $(1)/*.c $(1)/*.cc)
objects  = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(call sources,$(1))))
LIBS    := $(foreach f,$(FOLDERS),$(if $(call sources,$f),$(BUILD)/lib/$f.a))

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_TESTS   := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/tests/%)
REPLAYS      := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/corpus_%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_TARGETS := $(FUZZ_SOURCES:tests/fuzz/%.c=build/fuzz/bin/%)
TEST_TOOLS   := $(patsubst tests/preload/%.c,$(BUILD)/tools/%.so,$(wildcard tests/preload/*.c))
TOOLS        := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))
BENCH_TOOLS  := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
OUR_C        := gateway.c $(foreach f,$(FOLDERS) tests/unit tests/fuzz tests/tools tests/preload bench,$(wildcard $f/*.c $f/*.h $f/*.cc))

.PHONY: all run test unit e2e bench fuzz tools tls-check container-check load-check abuse-check failure-check fuzz-keep install uninstall lint format deps clean help always

all: ## build build/gateway
	@packages/install build
	@$(MAKE) --no-print-directory build-gateway

.PHONY: build-gateway
build-gateway: $(BUILD)/gateway
	@:

$(BUILD)/gateway: $(BUILD)/obj/gateway.o $(LIBS)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

define archive
$(BUILD)/lib/$(1).a: $(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$f)))

# What it is built with counts as a source: another flag rebuilds all, another commit one file.
$(BUILD)/flags: text = $(CC) $(CXX) $(CPPFLAGS) $(CFLAGS) $(CXXFLAGS) $(LDFLAGS)
$(BUILD)/version: text = $(VERSION)
$(BUILD)/flags $(BUILD)/version: always
	@mkdir -p $(@D)
	@echo '$(text)' | cmp -s - $@ || echo '$(text)' >$@

$(BUILD)/obj/commands/version.o: $(BUILD)/version
$(BUILD)/obj/commands/version.o: private CPPFLAGS += -DGW_VERSION='"$(VERSION)"'

$(BUILD)/obj/certificates/%.o build/fuzz/obj/certificates/%.o: private CPPFLAGS += $(DRAWING)
$(BUILD)/obj/tests/unit/test_certificates_%.o: private CPPFLAGS += $(DRAWING)

# Pages that are embedded: NAME.c has NAME.html and the like beside it.
$(BUILD)/obj/files/page.o build/fuzz/obj/files/page.o: $(wildcard files/upload_page.*)
$(foreach p,form_page verify_page,$(eval \
    $(BUILD)/obj/certificates/$p.o build/fuzz/obj/certificates/$p.o: \
    $(filter-out %.c %.h,$(wildcard certificates/$p.*))))

$(BUILD)/obj/%.o: %.c Makefile $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/%.o: %.cc Makefile $(BUILD)/flags
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

deps: ## install what building, running and testing needs
	@packages/install build run test

# Ctrl-C reaches all of them; a signal to make alone (TERM, or HUP as its terminal closes) reaches
# only this shell, which hands it on: a shell runs a trap while it waits, not while a program runs.
run: ## serve the demo homepage at http://127.0.0.1:8080/
	@packages/install build run
	@$(MAKE) --no-print-directory build-gateway
	@data=$${GATEWAY_DATA:-data}; mkdir -p -m 700 "$$data"; \
	[ -n "$$GATEWAY_SIGNING_KEY" ] || { \
	    [ -e "$$data/signing.key.pem" ] || \
	        build/gateway keygen --name "Tern & Tide" --out "$$data/signing" >/dev/null; \
	    export GATEWAY_SIGNING_KEY="$$data/signing.key.pem"; \
	    export GATEWAY_SIGNING_CERTIFICATE="$$data/signing.cert.pem"; }; \
	build/gateway stub -c examples/stub.toml & stub=$$!; \
	build/gateway run -c config.toml & gateway=$$!; \
	trap : INT; trap 'kill $$gateway 2>/dev/null' TERM HUP; \
	echo "the homepage: http://127.0.0.1:8080/ (Ctrl-C ends it)"; \
	echo "uploads: http://127.0.0.1:8080/upload  certificates: http://127.0.0.1:8080/certificate?name=Ada"; \
	while kill -0 $$gateway 2>/dev/null; do wait $$gateway; code=$$?; done; \
	kill $$stub 2>/dev/null; wait $$stub; exit $$code

# -- installing: the binary, the systemd unit, documents, and a configuration unless there is one -- #

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DOCS       := $(wildcard docs/*.md) README.md CHANGELOG.md SECURITY.md LICENSE

install: build/gateway ## as root: into PREFIX (/usr/local), with a systemd unit; DESTDIR=folder to package it
	@packages/install run
	install -D -m 755 build/gateway $(DESTDIR)$(PREFIX)/bin/gateway
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/gateway
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/gateway.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/gateway.service
	install -m 644 packaging/gateway.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -m 644 $(DOCS) packaging/kubernetes.yaml $(DESTDIR)$(PREFIX)/share/doc/gateway/
	@[ -e $(DESTDIR)$(SYSCONFDIR)/gateway/config.toml ] || { set -e; \
	    install -d $(DESTDIR)$(SYSCONFDIR)/gateway/examples; \
	    install -m 644 config.toml $(DESTDIR)$(SYSCONFDIR)/gateway/; \
	    cp -R templates $(DESTDIR)$(SYSCONFDIR)/gateway/; \
	    cp -R examples/assets $(DESTDIR)$(SYSCONFDIR)/gateway/examples/; \
	    echo "the demo's configuration: $(DESTDIR)$(SYSCONFDIR)/gateway/config.toml"; }

uninstall: ## what install put there, but for the configuration and the data
	rm -f $(DESTDIR)$(PREFIX)/bin/gateway $(DESTDIR)$(PREFIX)/lib/systemd/system/gateway.service \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/gateway.socket
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/gateway

# -- tests -- #

test: deps ## every test: unit, then end to end (SAN=address,undefined or SAN=thread for sanitizers)
	@$(MAKE) --no-print-directory run-unit
	@$(MAKE) --no-print-directory run-e2e

unit: deps ## unit tests only (UNIT=json picks one)
	@$(MAKE) --no-print-directory run-unit

e2e: deps ## end-to-end tests only (E2E='-k name' picks some)
	@$(MAKE) --no-print-directory run-e2e

.PHONY: run-unit run-e2e
run-unit: $(if $(UNIT),$(BUILD)/tests/test_$(UNIT),$(UNIT_TESTS) $(REPLAYS)) $(TEST_TOOLS)
	@tests/run-unit $(filter $(BUILD)/tests/%,$^)

run-e2e: $(BUILD)/gateway $(TEST_TOOLS)
	@tests/clients/install
	@GATEWAY=$(BUILD)/gateway TOOLS=$(BUILD)/tools SAN=$(SAN) \
	    PYTHONPYCACHEPREFIX=$(CURDIR)/build/pycache \
	    /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/e2e $(or $(E2E),-n 3 --dist loadfile)

# Inputs that fuzzing found, and that are kept.
$(REPLAYS): $(BUILD)/tests/corpus_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# Libraries that tests load into the gateway to stand in for a broken outside (a resolver that hangs).
$(BUILD)/tools/%.so: tests/preload/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=c11 -g -O1 -fPIC -shared $(CWARN) -o $@ $< -ldl

# Programs to try a folder by hand and to measure it alone; no test needs them, all keep building.
tools: $(TOOLS) ## build the programs of tests/tools
$(BUILD)/tools/%: $(BUILD)/obj/tests/tools/%.o $(LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

tls-check: ## testssl.sh against a listener of ours: minutes
	@packages/install build run tls-check
	@$(MAKE) --no-print-directory build-gateway
	@GATEWAY=$(BUILD)/gateway PYTHONDONTWRITEBYTECODE=1 tests/tls-check

container-check: ## the Dockerfile's steps without an engine, then the container's promises (as root)
	@packages/install container
	tests/container/check

load-check: ## wrk and h2load while the gateway is reloaded, replaced and drained: nothing may fail
	@packages/install build run load
	@$(MAKE) --no-print-directory build/gateway
	tests/load/changes.py build/gateway

failure-check: ## the n-th allocation and the n-th write fail, for many n: minutes
	@packages/install build run test
	@$(MAKE) --no-print-directory $(BUILD)/gateway $(TEST_TOOLS)
	@GW_FAILURES=all GATEWAY=$(BUILD)/gateway TOOLS=$(BUILD)/tools PYTHONDONTWRITEBYTECODE=1 \
	    /usr/bin/python3 -m pytest -q -p no:cacheprovider -n 2 tests/e2e/test_failures.py

abuse-check: ## attack a gateway (slow clients, floods, 100,000 connections) and measure the pages beside it
	@packages/install build run abuse
	@$(MAKE) --no-print-directory $(BUILD)/gateway
	@GATEWAY=$(BUILD)/gateway tests/abuse/check

# -- fuzzing: clang's libFuzzer, with address and undefined behaviour sanitizers -- #

FUZZ_SECONDS ?= 20
FUZZ_FLAGS   := -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                -fno-sanitize-recover=all

fuzz: ## each fuzz target for FUZZ_SECONDS (20); FUZZ=json picks one
	@packages/install build run fuzz
	@$(MAKE) --no-print-directory run-fuzz

.PHONY: run-fuzz
run-fuzz: $(if $(FUZZ),build/fuzz/bin/fuzz_$(FUZZ),$(FUZZ_TARGETS))
	@set -e; for target in $^; do name=$$(basename $$target); echo "== $$name"; \
	    mkdir -p build/fuzz/corpus/$$name; seeds=tests/fuzz/corpus/$${name#fuzz_}; \
	    [ -d $$seeds ] || seeds=; \
	    $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=5 -rss_limit_mb=2048 \
	        -print_final_stats=1 -verbosity=0 -artifact_prefix=build/fuzz/ \
	        build/fuzz/corpus/$$name $$seeds; done

fuzz-keep: ## keep what fuzzing found: as few inputs as reach as much, into tests/fuzz/corpus
	@packages/install build run fuzz
	@$(MAKE) --no-print-directory $(FUZZ_TARGETS)
	@tests/fuzz/keep $(FUZZ_TARGETS)

build/fuzz/obj/%.o: %.c Makefile
	$(call say,FUZZ,$<)
	@mkdir -p $(@D)
	$(Q)clang $(CPPFLAGS) -std=c11 $(FUZZ_FLAGS) -c -o $@ $<

build/fuzz/obj/%.o: %.cc Makefile
	$(call say,FUZZ,$<)
	@mkdir -p $(@D)
	$(Q)clang++ $(CPPFLAGS) -std=c++17 -DNDEBUG $(FUZZ_FLAGS) -c -o $@ $<

FUZZ_OBJECTS := $(foreach f,$(filter-out commands,$(FOLDERS)),\
                  $(patsubst %,build/fuzz/obj/%.o,$(basename $(call sources,$f))))
build/fuzz/gateway.a: $(FUZZ_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

build/fuzz/bin/%: build/fuzz/obj/tests/fuzz/%.o build/fuzz/gateway.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)clang++ -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS)

# -- figures -- #

bench: ## measure against nginx + Lua, and the parts on their own
	@packages/install build run bench
	@$(MAKE) --no-print-directory $(BUILD)/gateway $(BENCH_TOOLS) $(addprefix $(BUILD)/tools/,sign_speed idle_keys.so)
	@BENCH=$(BUILD)/bench GATEWAY=$(BUILD)/gateway bench/run
	@BENCH=$(BUILD)/bench GATEWAY=$(BUILD)/gateway bench/uploads
	@BENCH=$(BUILD)/bench TOOLS=$(BUILD)/tools GATEWAY=$(BUILD)/gateway bench/certificates
	@GATEWAY=$(BUILD)/gateway bench/resilience
	@BENCH=$(BUILD)/bench GATEWAY=$(BUILD)/gateway bench/cache
	@GATEWAY=$(BUILD)/gateway bench/early
	@GATEWAY=$(BUILD)/gateway bench/middleware

$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# -- care -- #

# Leaks are for AddressSanitizer to find: the analyzer doesn't know memory that is kept for reuse.
lint: ## formatting, floors, warnings as errors, gcc -fanalyzer, cppcheck
	@packages/install build lint
	$(Q)clang-format --dry-run -Werror $(OUR_C)
	tests/lint/floors
	$(MAKE) --no-print-directory BUILD=build/lint WERROR=-Werror \
	    OPTIMIZE='-O2 -fanalyzer -Wno-analyzer-malloc-leak' build/lint/gateway
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --suppressions-list=tests/lint/cppcheck.txt --error-exitcode=1 -I. -DH2O_USE_EPOLL=1 \
	    -DH2O_VERSION_MAJOR=2 -DH2O_VERSION_MINOR=2 -DH2O_VERSION_PATCH=5 \
	    gateway.c $(FOLDERS)

format: ## format every C file
	clang-format -i $(OUR_C)

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

-include $(shell test -d $(BUILD) && find $(BUILD) -name '*.d' 2>/dev/null)
