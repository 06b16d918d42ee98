// SPDX-License-Identifier: Apache-2.0

// Asks containers/image whether a policy lets an image in: policy-oracle POLICY REGISTRIES.D IMAGE
package main

import (
	"context"
	"fmt"
	"os"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// As copy.Image does: of an index, the image that it chooses counts.
func run(policyFile, registriesD, name string) error {
	policy, err := signature.NewPolicyFromFile(policyFile)
	if err != nil {
		return err
	}
	pc, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	ref, err := docker.ParseReference("//" + name)
	if err != nil {
		return err
	}
	sys := &types.SystemContext{RegistriesDirPath: registriesD, DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}
	src, err := ref.NewImageSource(context.Background(), sys)
	if err != nil {
		return err
	}
	defer src.Close()
	u := image.UnparsedInstance(src, nil)
	raw, mime, err := u.Manifest(context.Background())
	if err != nil {
		return err
	}
	if manifest.MIMETypeIsMultiImage(mime) {
		list, err := manifest.ListFromBlob(raw, mime)
		if err != nil {
			return err
		}
		d, err := list.ChooseInstance(sys)
		if err != nil {
			return err
		}
		u = image.UnparsedInstance(src, &d)
	}
	_, err = pc.IsRunningImageAllowed(context.Background(), u)
	return err
}
