# gateway: `make help` lists what there is to do.
#
# Each folder is an archive in build/lib; archives link in the order of the floors, so a folder that
# reaches up does not link. SAN=address,undefined or SAN=thread builds into a folder of its own.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

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
CPPFLAGS += -I. -D_GNU_SOURCE -DH2O_USE_EPOLL=1 -MMD -MP
CFLAGS   ?= -g
CFLAGS   += -std=c11 $(OPTIMIZE) $(HARDEN) $(CWARN)
CXXFLAGS ?= -g
CXXFLAGS += -std=c++17 -DNDEBUG $(OPTIMIZE) $(HARDEN) $(WARNINGS)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   := -lh2o-evloop -lcurl -lssl -lcrypto -lz -lpthread -lstdc++

# Top floor first: the order of linking, and of who may include whom.
FOLDERS := commands pages http upstreams observe render config base

sources  = $(wildcard $(1)/*.c $(1)/*.cc)
objects  = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(call sources,$(1))))
LIBS    := $(foreach f,$(FOLDERS),$(if $(call sources,$f),$(BUILD)/lib/$f.a))

UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_TESTS   := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/tests/%)
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_TARGETS := $(FUZZ_SOURCES:tests/fuzz/%.c=build/fuzz/bin/%)
OUR_C        := gateway.c $(foreach f,$(FOLDERS) tests/unit tests/fuzz tests/tools bench,$(wildcard $f/*.c $f/*.h $f/*.cc))

.PHONY: all run test unit e2e bench fuzz lint format deps deps-build deps-run clean help check-floors

all: deps-build ## build build/gateway
	@$(MAKE) --no-print-directory $(BUILD)/gateway

$(BUILD)/gateway: $(BUILD)/obj/gateway.o $(LIBS)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

define archive
$(BUILD)/lib/$(1).a: $(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$f)))

# The version lives in one object, so a commit rebuilds one file.
$(BUILD)/obj/commands/version.o: CPPFLAGS += -DGW_VERSION='"$(VERSION)"'

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

unit: ## unit tests only (UNIT=json picks one)
	@packages/install build run test
	@$(MAKE) --no-print-directory run-unit
.PHONY: run-unit
run-unit: $(if $(UNIT),$(BUILD)/tests/test_$(UNIT),$(UNIT_TESTS))
	@set -e; for t in $^; do echo "== $$t"; $$t; done

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

-include $(shell test -d $(BUILD) && find $(BUILD) -name '*.d' 2>/dev/null)
