package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thaw/image/dir"
	"thaw/localstore"
)

func (a *app) unpack() *cobra.Command {
	var root string
	var repair, asJSON bool
	cmd := &cobra.Command{
		Use:   "unpack PATH…|SPEC --root DIR",
		Short: "Unpack store paths and all they refer to into a directory",
		Long: `Unpack the given store paths, or the packages of a spec, and all they refer to into
DIR/nix/store, as nix copy --to DIR would, but without a Nix database. DIR may be
new, or have a store already: each object appears whole, one that is there is
hashed, kept if it is right, and not fetched. One that is wrong ends the run with
exit code 4 unless --repair is given, which replaces it. What is fetched is not
kept in the local cache.

Run by root, all files belong to root; otherwise to who runs it.`,
		Example: `  thaw unpack --cache testdata/example --trusted-key testdata/example/key.pub --root rootfs \
      /nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0`,
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && root == "" {
				return usage("for example --root ./rootfs", "unpack needs --root DIR")
			}
			t, err := a.target(cmd, args)
			if err != nil {
				return err
			}
			t.bare()
			w, err := a.resolve(cmd.Context(), t)
			if err == nil {
				defer w.close()
				err = w.withinLimits()
			}
			if err != nil {
				return err
			}
			damage := localstore.Refuse
			if repair {
				damage = localstore.Repair
			}
			counts, err := a.unpackInto(cmd.Context(), w, root, damage)
			if err != nil {
				return err
			}
			return a.unpacked(w, root, counts, asJSON)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the `DIR` to unpack into; it is made if need be")
	cmd.Flags().BoolVar(&repair, "repair", false, "replace objects that are there and damaged")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// counts tells how often each [localstore.Outcome] came.
type counts [3]atomic.Int64

// unpackInto adds the objects of w to the store below root. What is there is not
// fetched, and what is fetched is not kept in the local cache.
func (a *app) unpackInto(ctx context.Context, w *work, root string, damage localstore.OnDamage) (*counts, error) {
	owners := dir.IgnoreOwners
	if os.Geteuid() == 0 {
		owners = dir.KeepOwners
	}
	store, err := localstore.Open(ctx, root, owners, func() { w.ui.warn("waiting for another thaw that works in " + root) })
	if err != nil {
		return nil, err
	}
	defer store.Close()
	w.toFetch = slices.DeleteFunc(w.toFetch, store.Has)
	w.tell(a.global.effective.Caches)
	w.ui.begin("fetching", int64(len(w.toFetch)), w.fetchSize())
	var n counts
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.global.connections)
	for _, info := range w.plan.Order() {
		g.Go(func() error {
			outcome, err := store.Add(ctx, w.src, info, damage)
			if err == nil {
				n[outcome].Add(1)
			}
			return err
		})
	}
	return &n, g.Wait()
}

func (a *app) unpacked(w *work, root string, n *counts, asJSON bool) error {
	objects, received, byCache, warnings := w.ui.totals()
	if objects > 0 { // damaged ones are fetched, too
		w.ui.step("fetching", "%s, %s", count(objects, "path"), inBytes(received))
	}
	w.ui.step("unpacking", "%d unpacked, %d there already, %d repaired", n[localstore.Unpacked].Load(), n[localstore.Kept].Load(), n[localstore.Repaired].Load())
	if !asJSON {
		for _, r := range w.plan.Roots() {
			fmt.Fprintln(a.stdout, r)
		}
		return nil
	}
	return json.NewEncoder(a.stdout).Encode(map[string]any{
		"root": root, "paths": w.plan.Roots(), "closure": closureTotals{len(w.plan.Infos), w.plan.NarSize()},
		"unpacked": n[localstore.Unpacked].Load(), "kept": n[localstore.Kept].Load(), "repaired": n[localstore.Repaired].Load(),
		"received": byCache, "degraded": append([]string{}, w.src.list.Degraded()...), "warnings": warnings,
	})
}

// closureTotals is part of the JSON results.
type closureTotals struct {
	Paths   int   `json:"paths"`
	NarSize int64 `json:"narSize"`
}
