{
  version = 1;
  name = "vm";
  arch = "x86_64-linux";
  packages = [ "/nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-system" ];
  boot = { kernel = "auto"; loader = "none"; };
  outputs.disk = {
    type = "disk";
    partitions = [ { fs = "ext4"; label = "nixos"; content = "rootfs"; } ];
  };
}
