"""Distances and ages against astropy."""

import numpy as np
from astropy import units
from astropy.cosmology import FlatLambdaCDM

from polycli.astroclip.sources.mock import cosmology

REDSHIFT = np.array([0.01, 0.1, 0.3, 0.6])
REFERENCE = FlatLambdaCDM(H0=cosmology.HUBBLE, Om0=cosmology.MATTER, Tcmb0=0)


def test_distances_volumes_and_ages_agree_with_astropy():
    np.testing.assert_allclose(
        cosmology.luminosity_distance(REDSHIFT), REFERENCE.luminosity_distance(REDSHIFT).to_value(units.Mpc), rtol=1e-5
    )
    np.testing.assert_allclose(cosmology.age(REDSHIFT), REFERENCE.age(REDSHIFT).to_value(units.Gyr), rtol=1e-5)
    volume = REFERENCE.differential_comoving_volume(REDSHIFT).to_value(units.Mpc**3 / units.sr)
    np.testing.assert_allclose(cosmology.volume_density(REDSHIFT), volume, rtol=1e-5)
    scale = REFERENCE.kpc_proper_per_arcmin(REDSHIFT).to_value(units.kpc / units.arcmin) / 60
    np.testing.assert_allclose(cosmology.kpc_per_arcsec(REDSHIFT), scale, rtol=1e-5)
